"""TFB: training-free Bayesianization, a LoRA run with as much noise on A as its NLL tolerates (Shi et al. 2024)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

import torch
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors import Posterior
from uq4ct.model_store.posteriors.draws import bank_places
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.posteriors.weight_gaussian import GaussianConfig, std_name
from uq4ct.model_store.predictor import score_batch, score_in_batches
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.proper_scores import negative_log_likelihood
from uq4ct.training.console import count_up, say
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.methods.base import Finished, Fitting, PostHocMethod, one_lora

SMALLEST_SINGULAR = (
    1e-3  # share of the largest singular value of a bank's B; below it the noise of a rank grows no further
)


class TfbOptions(Frozen):
    """How much noise is tolerated, and how it is searched for; an answer costs `samples` passes.

    The search costs (steps * samples + 1) passes over the anchor questions.
    """

    tolerance: float = Field(
        default=0.003, gt=0, description="allowed relative rise of the NLL over the lowest one found"
    )
    steps: int = Field(default=10, ge=1, le=100, description="noise sizes to try")
    samples: int = Field(
        default=10, ge=1, le=1000, description="S, draws of the weights, made once; the search uses as many"
    )
    anchor_questions: int = Field(
        default=200, ge=1, description="questions of the fit split on which the NLL is measured"
    )


def rotate(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the same adapter with B' = U diag(d), A' = V^T A for B = U diag(d) V^T, and each bank's d [r] by place."""
    rotated, singular = dict(tensors), {}
    for place in bank_places(tensors):
        u, d, vt = torch.linalg.svd(tensors[f"{place}.B"].double(), full_matrices=False)
        rotated[f"{place}.A"] = (vt @ tensors[f"{place}.A"].double()).float()
        rotated[f"{place}.B"] = (u * d).float()
        singular[place] = d.float()
    return rotated, singular


def unit_stds(singular: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the stored stds [r, 1] for sigma_q = 1: 1 / d_i, so that every direction of B has noise of size sigma_q.

    If d_i is below a thousandth of the largest one, that thousandth replaces it: the noise in such a direction is then
    smaller than sigma_q, and A stays in the range of half precision. A zero B gets no noise, nor does a direction so
    small that its inverse is not finite.
    """
    stds = {}
    for place, d in singular.items():
        inverse = 1 / d.clamp(min=SMALLEST_SINGULAR * d.max())
        stds[std_name(place)] = torch.where(inverse.isfinite(), inverse, 0.0).unsqueeze(-1)
    return stds


def update_size(tensors: Mapping[str, Tensor], singular: Mapping[str, Tensor]) -> float:
    """Return the sigma_q that makes the noise in B A as large as B A itself, in root mean square over all banks."""
    squares, numbers = 0.0, 0
    for place, d in singular.items():
        weight = tensors[f"{place}.A"]
        squares += (d.unsqueeze(-1) * weight).square().sum().item()  # U has orthonormal columns
        numbers += weight.numel()
    return math.sqrt(squares / numbers)


def largest_borne(nll: Callable[[float], float], start: float, steps: int, tolerance: float) -> float:
    """Return the largest sigma_q tried, or 0, with an NLL of at most 1 + `tolerance` times the lowest NLL found.

    The reference is the lowest NLL, not that of sigma_q = 0: the NLL of an overconfident adapter falls with the noise
    before it rises, and returns to its initial value only when the answers are spoilt. The search halves sigma_q, at
    least once from `start`, until it is tolerated and halving lowers the NLL by no more than the tolerance; then it
    doubles the largest tolerated one until one is not tolerated, and halves the interval between the last two. It tries
    `steps` values beside 0.
    """
    tried = {0.0: nll(0.0)}
    value = start
    while len(tried) <= steps and value not in tried:
        tried[value] = nll(value)
        value = _next_size(tried, tolerance)
    return _bracket(tried, tolerance)[0]


def _next_size(tried: Mapping[float, float], tolerance: float) -> float:
    """Return the next value of the search in `largest_borne`."""
    smallest = min(value for value in tried if value > 0)
    borne, refused = _bracket(tried, tolerance)
    if borne == 0 or _still_falls(tried, smallest, tolerance):
        return smallest / 2
    return 2 * borne if math.isinf(refused) else (borne + refused) / 2


def _still_falls(tried: Mapping[float, float], smallest: float, tolerance: float) -> bool:
    """Return whether the last halving lowered the NLL by more than the tolerance; True before the first one."""
    if 2 * smallest not in tried:
        return True
    return tried[2 * smallest] - tried[smallest] > tolerance * min(tried.values())


def _bracket(tried: Mapping[float, float], tolerance: float) -> tuple[float, float]:
    """Return the largest tolerated value and the next larger one that was tried, inf if there is none."""
    limit = (1 + tolerance) * min(tried.values())
    borne = max(value for value, nll in tried.items() if nll <= limit)
    return borne, min((value for value in tried if value > borne), default=math.inf)


def _fit(fitting: Fitting, options: TfbOptions) -> Finished:
    config = GaussianConfig(samples=options.samples, seed=fitting.seed)
    tensors, singular = rotate(fitting.weights[0])
    units = unit_stds(singular)
    anchor = _anchor(fitting, options.anchor_questions)

    def noisy(sigma: float) -> dict[str, Tensor]:
        return tensors | {name: sigma * unit for name, unit in units.items()}

    def nll(sigma: float) -> float:
        posterior = config.build(noisy(sigma)) if sigma > 0 else PointPosterior()
        found = _nll(fitting, posterior, anchor, f"noise {sigma:.4g}")
        message = f"noise of {sigma:.4g}: NLL {found:.4f} on {len(anchor)} questions of the fit split"
        say(fitting.console, message)
        return found

    sigma = largest_borne(nll, update_size(tensors, singular), options.steps, options.tolerance)
    say(fitting.console, f"chosen noise: {sigma:.4g}")
    return Finished(config, noisy(sigma))


def _anchor(fitting: Fitting, count: int) -> list[TrainingQuestion]:
    """Return `count` questions of the fit split, drawn by the run's seed, or all if there are fewer."""
    draw = random.Random(f"anchor {fitting.seed}")
    return draw.sample(list(fitting.fit), min(count, len(fitting.fit)))


def _nll(fitting: Fitting, posterior: Posterior, anchor: list[TrainingQuestion], title: str) -> float:
    """Return the mean NLL of the questions' right answers in nats, with a progress bar."""
    encoded = [question.encoded for question in anchor]
    with count_up(fitting.console, title, len(encoded)) as advance:
        samples = score_in_batches(
            lambda batch: score_batch(fitting.model, posterior, batch),
            encoded,
            fitting.batch_tokens,
            advance,
        )
    answers = torch.tensor([question.answer for question in anchor])
    return negative_log_likelihood(mean_probabilities(samples.logits), answers).mean().item()


TFB = PostHocMethod(options=TfbOptions, needs=one_lora, fit=_fit)
