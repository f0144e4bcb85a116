"""One verdict about the confidence of a model version, from everything that is measured about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from uq4ct.model_store.uncertainty.soft_targets import FEWEST_QUESTIONS
from uq4ct.service.ledger.calibration import Cohort, LabelledScores
from uq4ct.service.ledger.sequential import RunningTest
from uq4ct.service.telemetry.metrics import SequentialTest

State = Literal["too_few_labels", "no_evidence", "overconfident", "underconfident", "miscalibrated", "more_errors"]
Reason = Literal["overconfident_alarm", "underconfident_alarm", "error_rate_alarm", "ece", "gap_z", "spiegelhalter_z"]

FEWEST_LABELS = FEWEST_QUESTIONS  # with fewer, a fit of a calibration is weak too
LARGEST_Z = 3.0  # exceeded by chance once in 370 windows
_ALARMS: dict[SequentialTest, Reason] = {
    "overconfident": "overconfident_alarm",
    "underconfident": "underconfident_alarm",
    "error_rate": "error_rate_alarm",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the labels say about a version, and the findings against it; none for `too_few_labels` and `no_evidence`."""

    state: State
    reasons: tuple[Reason, ...]


def judge(cohort: Cohort) -> Verdict:
    """Judge a version by its alarms and by the labels of a window.

    An alarm counts at any number of labels, because a sequential test is valid at each. The other findings need
    `FEWEST_LABELS`: an expected calibration error above the 95th percentile of its noise floor, and a |z| above
    `LARGEST_Z`. A version without a finding has no evidence against it, which does not prove that it is calibrated.
    """
    scores = cohort.scores
    enough = scores if scores is not None and scores.questions >= FEWEST_LABELS else None
    reasons = (*_alarms(cohort.tests), *(_measured(enough) if enough is not None else ()))
    if not reasons:
        return Verdict("too_few_labels" if enough is None else "no_evidence", ())
    return Verdict(_state(reasons, enough), reasons)


def _alarms(tests: Sequence[RunningTest]) -> tuple[Reason, ...]:
    """Return the alarms of a version's tests."""
    raised = {test.test for test in tests if test.alarmed_ms is not None}
    return tuple(reason for test, reason in _ALARMS.items() if test in raised)


def _measured(scores: LabelledScores) -> tuple[Reason, ...]:
    found: dict[Reason, bool] = {
        "ece": scores.ece > scores.ece_noise_floor.p95,
        "gap_z": abs(scores.gap_z or 0.0) > LARGEST_Z,
        "spiegelhalter_z": abs(scores.spiegelhalter_z or 0.0) > LARGEST_Z,
    }
    return tuple(reason for reason, is_found in found.items() if is_found)


def _state(reasons: tuple[Reason, ...], scores: LabelledScores | None) -> State:
    """Name the direction if a finding has one: first that of the alarms, then that of the gap."""
    over, under = "overconfident_alarm" in reasons, "underconfident_alarm" in reasons
    if over != under:
        return "overconfident" if over else "underconfident"
    if over:  # first one, then the other
        return "miscalibrated"
    if "gap_z" in reasons and scores is not None:
        return "overconfident" if scores.mean_confidence > scores.accuracy else "underconfident"
    return "more_errors" if set(reasons) == {"error_rate_alarm"} else "miscalibrated"
