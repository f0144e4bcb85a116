"""What follows from an answer's probabilities: abstain or not, and which options to offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from uq4ct.model_store.storage.manifest import Decisions
from uq4ct.model_store.uncertainty.conformal import conformal_threshold, prediction_set

AbstainReason = Literal["below_threshold", "set_too_large"]


@dataclass(frozen=True, slots=True)
class Decision:
    """`threshold` is the confidence below which the answer abstains, `options` the prediction set in the order of the
    options and `coverage` what it was asked for; each None where nothing was fitted or asked."""

    abstain: bool
    reason: AbstainReason | None
    threshold: float | None
    options: tuple[int, ...] | None
    coverage: float | None


def decide(
    probabilities: Sequence[float],
    decisions: Decisions,
    abstain_below: float | None = None,
    coverage: float | None = None,
) -> Decision:
    """Apply the stored decisions to calibrated probabilities that add up to 1.

    `abstain_below` and `coverage` replace the threshold and the coverage of the manifest for this one answer.
    """
    threshold = abstain_below
    if threshold is None and decisions.abstention is not None:
        threshold = decisions.abstention.threshold
    options = None
    too_large = False
    sets = decisions.sets
    if sets is not None:
        coverage = sets.coverage if coverage is None else coverage
        options = prediction_set(probabilities, sets.score, conformal_threshold(sets.scores, coverage))
        too_large = sets.max_set_size is not None and len(options) > sets.max_set_size
    below = threshold is not None and max(probabilities) < threshold
    reason: AbstainReason | None = "below_threshold" if below else "set_too_large" if too_large else None
    return Decision(reason is not None, reason, threshold, options, coverage if sets is not None else None)
