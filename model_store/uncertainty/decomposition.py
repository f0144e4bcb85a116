"""Probabilities of sampled logits, and the decomposition of their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.temperature import Temperature


@dataclass(frozen=True, slots=True, eq=False)
class Decomposition:
    """Entropies of each question in nats, float64 [B] each: total = aleatoric + epistemic."""

    total: Tensor
    aleatoric: Tensor
    epistemic: Tensor


def sample_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the candidate probabilities of every sample: softmax(logits / temperature), float64 [S, B, C].

    `logits` [S, B, C]; a padded candidate is -inf and gets exactly 0. Raises ValueError on a question without a finite
    candidate, on NaN or +inf, and on a temperature that is not positive and finite.
    """
    check_logits(logits)
    return Temperature(temperature).divide(logits).softmax(dim=-1)


def mean_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the candidate probabilities: the mean over samples of softmax(logits / temperature), float64 [B, C].

    Probabilities are averaged, not logits. Raises as `sample_probabilities` does.
    """
    return sample_probabilities(logits, temperature).mean(dim=0)


def decompose(probabilities: Tensor) -> Decomposition:
    """Return the total, aleatoric and epistemic uncertainty of sampled probabilities [S, B, C].

    Total is the entropy of the mean over samples, aleatoric the mean entropy, epistemic their difference: the mutual
    information of answer and weights, clamped to >= 0 against rounding and exactly 0 for one sample.
    Source: Houlsby et al. 2011; Depeweg et al. 2018.
    """
    total = entropy(probabilities.mean(dim=0))
    aleatoric = entropy(probabilities).mean(dim=0)
    return Decomposition(total, aleatoric, (total - aleatoric).clamp(min=0.0))


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy over the last dimension, in nats."""
    return torch.special.entr(probabilities).sum(dim=-1)  # entr(0) = 0


def check_logits(logits: Tensor) -> None:
    """Raise ValueError unless `logits` are [S, B, C], each question with a finite candidate and none NaN or +inf."""
    if logits.ndim != 3 or logits.shape[0] == 0 or logits.shape[2] == 0:
        raise ValueError(f"logits must be [S, B, C] with S, C >= 1, not {list(logits.shape)}")
    # The largest logit is finite exactly if some candidate is real and none is NaN or +inf.
    broken = ~logits.amax(dim=-1).isfinite().all(dim=0)
    if broken.any():
        raise ValueError(
            f"logits contain NaN or +inf, or no real candidate, in the questions {broken.nonzero().flatten().tolist()}"
        )
