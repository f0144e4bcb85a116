"""The Fisher information of every adapter weight, Kronecker-factored, from one sweep over the training questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.posteriors.draws import generator
from uq4ct.model_store.posteriors.kronecker import KroneckerFactors
from uq4ct.model_store.posteriors.taps import BankTaps, Tap, output_gradients
from uq4ct.model_store.predictor import batches_by_length
from uq4ct.model_store.scoring.encoding import TokenBatch, collate
from uq4ct.training.data.batches import TrainingQuestion

OVERSAMPLING = 4  # columns of a sketch for each eigenvector kept of it


class SecondMoment:
    """The sum F of x x' over rows x [d], of which `rank` eigenvectors are wanted, without forming F.

    Only F W is kept, for a fixed random W [d, 4 * rank], whatever the order of the rows, and F is read from it by
    Nystroem's method (Tropp et al. 2017). Where that is as wide as F, W is the identity and only the rank is lost.
    """

    def __init__(self, dimension: int, rank: int, source: torch.Generator, device: torch.device) -> None:
        width = min(dimension, OVERSAMPLING * rank)
        whole = width == dimension
        drawn = torch.eye(dimension) if whole else torch.randn(dimension, width, generator=source)
        self._directions = drawn.to(device, torch.float64)
        self._product = torch.zeros_like(self._directions)
        self._rank = min(dimension, rank)

    def add(self, rows: Tensor) -> None:
        """Count the rows [n, d]."""
        rows = rows.double()
        self._product += rows.T @ (rows @ self._directions)

    def eigenpairs(self) -> tuple[Tensor, Tensor]:
        """The largest: vectors [d, rank], orthonormal, and values [rank], from the largest down; float64."""
        core = self._directions.T @ self._product
        values, vectors = torch.linalg.eigh((core + core.T) / 2)
        kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1].clamp(min=0)
        root = torch.where(kept, values, 1.0).rsqrt() * kept
        left, singular, _ = torch.linalg.svd(self._product @ vectors * root, full_matrices=False)
        return left[:, : self._rank], singular[: self._rank].square()


class _WeightMoments:
    """The second moments of one weight: of what goes in, and of the gradients at what comes out.

    The large one is of low rank: the input of A, the output of B. The other has at most the rank of the adapter.
    """

    def __init__(self, name: str, tap: Tap, rank: int, seed: int) -> None:
        into, out = tap.inputs.shape[-1], tap.outputs.shape[-1]
        ranks = (rank, out) if name.endswith(".A") else (into, rank)
        source, device = generator(seed, name), tap.inputs.device
        self.inputs = SecondMoment(into, ranks[0], source, device)
        self.gradients = SecondMoment(out, ranks[1], source, device)

    def factors(self, positions: int) -> KroneckerFactors:
        """Mean over the positions of the one, sum of the other: KFAC's product of a mean and a sum."""
        input_basis, input_values = self.inputs.eigenpairs()
        return KroneckerFactors(input_basis, input_values / positions, *self.gradients.eigenpairs())


def fit_curvature(
    model: AdaptedModel,
    questions: Sequence[TrainingQuestion],
    rank: int,
    batch_tokens: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, KroneckerFactors]:
    """Sweep the questions in evaluation mode: the factors by the weights' stored names.

    The Fisher is exact: over all candidates, weighted by their probability.

    Inputs and gradients are those at the answer positions, where the scorer reads the candidates: one a question under
    letter scoring, every token before an option's under cloze scoring. These count as so many independent positions
    (KFAC-expand, Eschenhagen et al. 2023). What a question's other tokens add to its gradient is left out.

    Raises:
        ValueError: the model is in training mode, where dropout would be part of the curvature.
    """
    if model.training:
        raise ValueError("the curvature of a model in training mode was asked for: call eval() first")
    moments: dict[str, _WeightMoments] = {}
    positions = 0
    for chosen in batches_by_length([question.encoded for question in questions], batch_tokens):
        batch = collate([questions[index].encoded for index in chosen]).to(model.device)
        through = BankTaps()
        with torch.enable_grad():
            log_probabilities = model(batch, through).logits.log_softmax(dim=-1)
        if not moments:
            moments = {name: _WeightMoments(name, tap, rank, seed) for name, tap in through.taps.items()}
        positions += _count(model, batch, log_probabilities, through.taps, moments)
        advance(len(chosen))
    return {name: moment.factors(positions) for name, moment in moments.items()}


def _count(
    model: AdaptedModel,
    batch: TokenBatch,
    log_probabilities: Tensor,
    taps: Mapping[str, Tap],
    moments: Mapping[str, _WeightMoments],
) -> int:
    """Add a batch to the moments; the number of its answer positions."""
    read = model.scorer.answer_positions(batch)
    rows = read.nonzero()[:, 0]
    weights = log_probabilities.detach().exp().sqrt()  # gradients count by the probability: the square of these
    for candidate, gradients in enumerate(output_gradients(log_probabilities, taps)):
        for name, gradient in gradients.items():
            moments[name].gradients.add(gradient[read] * weights[rows, candidate].unsqueeze(1))
    for name, tap in taps.items():
        moments[name].inputs.add(tap.inputs[read])
    return len(rows)
