"""When to abstain and which options to offer: the fitted records of the manifest, and how to apply them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, FiniteFloat, model_validator

from uq4ct.model_store.frozen import Frozen, NonNegative, Share
from uq4ct.model_store.uncertainty.conformal import MOST_SCORES, ConformalScore, conformal_threshold, prediction_set

AbstainReason = Literal["below_threshold", "set_too_large"]


class ConformalSets(Frozen):
    """Prediction sets by split conformal prediction; the stored scores allow any coverage.

    Of many questions only a part of the scores is kept, so that a manifest stays small: see `sketch_scores`.
    """

    score: ConformalScore = Field(description="lac: 1 - p of the option; aps: mass of the options at least as probable")
    coverage: Share = Field(description="of the sets, unless a request asks for another")
    max_set_size: int | None = Field(ge=1, description="abstain if the set is larger; None = no limit")
    questions: int = Field(ge=1, description="size of the guarantee split")
    scores: tuple[FiniteFloat, ...] = Field(
        min_length=1, max_length=MOST_SCORES, description="`sketch_scores` of the right options on the guarantee split"
    )

    @model_validator(mode="after")
    def _check(self) -> ConformalSets:
        if list(self.scores) != sorted(self.scores):
            raise ValueError("scores are not in ascending order")
        kept = min(self.questions, MOST_SCORES)
        if len(self.scores) != kept:
            raise ValueError(f"scores has {len(self.scores)} numbers for {self.questions} questions, must have {kept}")
        return self


class Abstention(Frozen):
    """Answer if the confidence is at least `threshold`, which was fitted on the guarantee split."""

    target: Literal["risk", "coverage"] = Field(description="at most this risk, or at least this coverage")
    value: Share
    guarantee: Share = Field(description="probability, over the draw of the split, with which the target holds")
    threshold: Share
    questions: int = Field(ge=1)
    risk: Share = Field(description="error rate among the answered, on the guarantee split")
    risk_bound: Share = Field(description="upper bound of the error rate among the answered")
    coverage: Share = Field(description="answered share of the guarantee split")
    coverage_bound: Share = Field(description="lower bound of the answered share")


class TestedDecisions(Frozen):
    """Results of the decisions on the test split, on which they were not fitted."""

    set_coverage: Share
    mean_set_size: NonNegative
    answered: Share = Field(description="share of the questions that were answered")
    selective_risk: Share | None = Field(description="error rate among the answered; None if there are none")


class Decisions(Frozen):
    """When to abstain and which options to offer; a field is None where nothing was fitted."""

    sets: ConformalSets | None
    abstention: Abstention | None
    tested: TestedDecisions | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to abstain from an answer, and its prediction set.

    `threshold` is the confidence below which the answer abstains, `options` the prediction set in the order of the
    options and `coverage` the set's requested coverage; each is None where nothing was fitted or requested.
    """

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
        options = prediction_set(probabilities, sets.score, conformal_threshold(sets.scores, sets.questions, coverage))
        too_large = sets.max_set_size is not None and len(options) > sets.max_set_size
    below = threshold is not None and max(probabilities) < threshold
    reason: AbstainReason | None = "below_threshold" if below else "set_too_large" if too_large else None
    return Decision(reason is not None, reason, threshold, options, coverage if sets is not None else None)
