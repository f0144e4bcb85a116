"""Platt scaling of one score of an event: a line on its log-odds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uq4ct.model_store.uncertainty.nll_search import minimise
from uq4ct.model_store.uncertainty.ranking import check_pairs
from uq4ct.model_store.uncertainty.soft_targets import prior_share

PRIOR_EVENTS = 10  # scores followed by events as they say that a fit counts beside its own
_EDGE = 1e-12  # probabilities are clamped this far from 0 and 1


@dataclass(frozen=True, slots=True)
class BinaryPlatt:
    """u -> sigmoid(slope * logit(u) + intercept), the probability of the event; a slope of 0 ignores u."""

    slope: float
    intercept: float

    def apply(self, score: Tensor) -> Tensor:
        """Return the probabilities, float64, of scores in [0, 1]."""
        return torch.sigmoid(self.slope * _log_odds(score) + self.intercept)


def fit_binary_platt(score: Tensor, event: Tensor, prior_events: float = PRIOR_EVENTS) -> BinaryPlatt:
    """Fit the line of slope >= 0 that minimises cross entropy; `score` [B] in [0, 1], `event` bool [B], both classes.

    The targets are Platt's, 1 / (n + 2) and (p + 1) / (p + 2) for n negatives and p positives, mixed with the scores
    themselves after a shift of their log-odds to the mean of those targets: the scores count as `prior_events` m beside
    the n + p events. So the line is finite where a threshold separates the classes, and its slope close to 1 where
    there are few. The loss is convex in slope and intercept. Raises ValueError if a class is missing.
    Source: Platt 1999, without the mixing.
    """
    check_pairs(score, event, ("score", "event"))
    positives, negatives = int(event.sum()), int((~event).sum())
    if positives == 0 or negatives == 0:
        raise ValueError(f"events must have both classes, not {positives} positives and {negatives} negatives")
    odds = _log_odds(score)
    seen = torch.where(event, (positives + 1) / (positives + 2), 1 / (negatives + 2)).double()
    shift = minimise(lambda theta: F.binary_cross_entropy_with_logits(odds + theta, seen), torch.zeros(1))
    targets = torch.lerp(seen, torch.sigmoid(odds + shift), prior_share(len(event), prior_events))

    def loss(theta: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(theta[0].exp() * odds + theta[1], targets)

    found = minimise(loss, torch.cat([torch.zeros(1), shift]))
    return BinaryPlatt(found[0].exp().item(), found[1].item())


def _log_odds(score: Tensor) -> Tensor:
    return torch.logit(score.double(), eps=_EDGE)
