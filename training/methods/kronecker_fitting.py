"""The Fisher information of every adapter weight, Kronecker-factored, from one pass over the training questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from uq4ct.model_store.adapted_model import AdaptedModel, ForwardPlan
from uq4ct.model_store.posteriors.draws import generator
from uq4ct.model_store.posteriors.kronecker import KroneckerFactors
from uq4ct.model_store.posteriors.taps import BankTaps, Tap, output_gradients
from uq4ct.model_store.predictor import batches_by_length
from uq4ct.model_store.token_batch import collate
from uq4ct.training.data.batches import TrainingQuestion

OVERSAMPLING = 4  # columns of a sketch per eigenvector that is kept


class SecondMoment:
    """The leading `rank` eigenvectors of F, the sum of x x' over rows x [d], without forming F.

    Only F W is stored, for a fixed random W [d, 4 * rank]; it does not depend on the order of the rows. F is recovered
    from it by Nystroem's method (Tropp et al. 2017). If W would be as wide as F, it is the identity, and only the
    truncation to `rank` loses anything.
    """

    def __init__(self, dimension: int, rank: int, source: torch.Generator, device: torch.device) -> None:
        width = min(dimension, OVERSAMPLING * rank)
        whole = width == dimension
        drawn = torch.eye(dimension) if whole else torch.randn(dimension, width, generator=source)
        self._directions = drawn.to(device, torch.float64)
        self._product = torch.zeros_like(self._directions)
        self._rank = min(dimension, rank)

    def add(self, rows: Tensor) -> None:
        """Add the rows [n, d]."""
        rows = rows.double()
        self._product += rows.T @ (rows @ self._directions)

    def eigenpairs(self) -> tuple[Tensor, Tensor]:
        """Return the largest eigenpairs, descending: orthonormal vectors [d, rank] and values [rank], float64."""
        core = self._directions.T @ self._product
        values, vectors = torch.linalg.eigh((core + core.T) / 2)
        kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1].clamp(min=0)
        root = torch.where(kept, values, 1.0).rsqrt() * kept
        left, singular, _ = torch.linalg.svd(self._product @ vectors * root, full_matrices=False)
        return left[:, : self._rank], singular[: self._rank].square()


class _WeightMoments:
    """The second moments of one weight: of its inputs, and of the gradients at its outputs.

    The large one is kept at low rank: the input of A, the output of B. The other has at most the rank of the adapter.
    """

    def __init__(self, name: str, tap: Tap, rank: int, seed: int) -> None:
        into, out = tap.inputs.shape[-1], tap.outputs.shape[-1]
        ranks = (rank, out) if name.endswith(".A") else (into, rank)
        source, device = generator(seed, name), tap.inputs.device
        self.inputs = SecondMoment(into, ranks[0], source, device)
        self.gradients = SecondMoment(out, ranks[1], source, device)

    def factors(self, positions: int) -> KroneckerFactors:
        """Return the inputs' mean over positions and the gradients' sum, as in KFAC."""
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
    """Pass over the questions in evaluation mode and return the factors by the weights' stored names.

    The Fisher is exact: a sum over all candidates, weighted by their probability.

    Inputs and gradients are taken at the answer positions, where the scorer reads the candidates: one per question in
    letter scoring, the token before each token of an option in cloze scoring. They count as independent positions
    (KFAC-expand, Eschenhagen et al. 2023). The contributions of a question's other tokens to its gradient are left out.

    Raises:
        ValueError: the model is in training mode, so dropout would be part of the curvature.
    """
    if model.training:
        raise ValueError("the curvature cannot be computed in training mode: call eval() first")
    moments: dict[str, _WeightMoments] = {}
    positions = 0
    for chosen in batches_by_length([question.encoded for question in questions], batch_tokens):
        through = BankTaps()
        plan = model.plan(collate([questions[index].encoded for index in chosen]), through)
        with torch.enable_grad():
            log_probabilities = model.run(plan, through).logits.log_softmax(dim=-1)
        if not moments:
            moments = {name: _WeightMoments(name, tap, rank, seed) for name, tap in through.taps.items()}
        positions += _count(plan, log_probabilities, through.taps, moments)
        advance(len(chosen))
    return {name: moment.factors(positions) for name, moment in moments.items()}


def _count(
    plan: ForwardPlan, log_probabilities: Tensor, taps: Mapping[str, Tap], moments: Mapping[str, _WeightMoments]
) -> int:
    """Add a batch to the moments and return its number of answer positions."""
    read = plan.layout.kept[plan.scoring.read]
    weights = log_probabilities.detach().exp().sqrt()[plan.scoring.question]  # the moments square it
    for candidate, gradients in enumerate(output_gradients(log_probabilities, taps)):
        for name, gradient in gradients.items():
            moments[name].gradients.add(gradient.flatten(0, 1)[read] * weights[:, candidate].unsqueeze(1))
    for name, tap in taps.items():
        moments[name].inputs.add(tap.inputs.flatten(0, 1)[read])
    return len(read)
