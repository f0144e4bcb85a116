"""The verdict about a version, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.uncertainty.calibration_error import NoiseFloor
from uq4ct.service.ledger.calibration import Cohort, LabelledScores, score_labelled
from uq4ct.service.ledger.queries import CohortCount, Scored
from uq4ct.service.ledger.sequential import RunningTest, Wealth
from uq4ct.service.ledger.verdict import FEWEST_LABELS, Verdict, judge

COUNT = CohortCount("toy", 1, 100, 100, 100, 80.0, (100,) * 15, None)


def scores(questions: int = 100, right: int = 80, **changes: Any) -> LabelledScores:
    """Return the scores of labels with confidence 0.8."""
    rows = [Scored("toy", 1, 0, 0, 0.8, False, index < right) for index in range(questions)]
    return replace(score_labelled(rows), **changes)


def running(*alarms: str) -> tuple[RunningTest, ...]:
    names: tuple[Any, ...] = ("overconfident", "underconfident", "error_rate")
    return tuple(
        RunningTest(None, "toy", 1, name, 0.5, 0, 5 if name in alarms else None, Wealth(labels=40)) for name in names
    )


def verdict(found: LabelledScores | None, *alarms: str) -> Verdict:
    return judge(Cohort(COUNT, found, None, running(*alarms)))


def test_a_calibrated_version_has_no_evidence_against_it() -> None:
    assert verdict(scores()) == Verdict("no_evidence", ())


def test_few_labels_give_no_verdict() -> None:
    few = scores(FEWEST_LABELS - 1, 0)
    assert few.ece > few.ece_noise_floor.p95
    assert verdict(few) == Verdict("too_few_labels", ())
    assert verdict(None) == Verdict("too_few_labels", ())
    assert verdict(scores(FEWEST_LABELS, 0)).state == "overconfident"


@pytest.mark.parametrize(("right", "state"), [(55, "overconfident"), (99, "underconfident")])
def test_a_gap_has_a_direction(right: int, state: str) -> None:
    """(80 - 55) / sqrt(100 x 0.8 x 0.2) = 6.25; (80 - 99) / 4 = -4.75."""
    found = scores(right=right)
    assert found.gap_z == pytest.approx((80 - right) / 4)
    assert verdict(found).state == state
    assert {"gap_z", "ece"} <= set(verdict(found).reasons)


def test_errors_that_cancel_are_miscalibrated() -> None:
    assert verdict(scores(spiegelhalter_z=-3.99)) == Verdict("miscalibrated", ("spiegelhalter_z",))
    above = scores(ece=0.2, ece_noise_floor=NoiseFloor(0.05, 0.1))
    assert verdict(above) == Verdict("miscalibrated", ("ece",))


@pytest.mark.parametrize(
    ("alarms", "state"),
    [
        (("overconfident",), "overconfident"),
        (("underconfident",), "underconfident"),
        (("error_rate",), "more_errors"),
        (("overconfident", "error_rate"), "overconfident"),
        (("overconfident", "underconfident"), "miscalibrated"),
    ],
)
@pytest.mark.parametrize("found", [None, scores(1, 1), scores()], ids=["no label", "one label", "calibrated labels"])
def test_an_alarm_counts_at_any_number_of_labels(
    alarms: tuple[str, ...], state: str, found: LabelledScores | None
) -> None:
    given_alarms = verdict(found, *alarms)
    assert given_alarms.state == state
    assert given_alarms.reasons == tuple(f"{name}_alarm" for name in alarms)


@given(
    labels=st.integers(1, 60),
    right=st.integers(0, 60),
    z=st.floats(-9, 9),
    alarms=st.sets(st.sampled_from(["overconfident", "underconfident", "error_rate"])),
)
def test_nothing_is_called_fine_while_something_speaks_against_it(
    labels: int, right: int, z: float, alarms: set[str]
) -> None:
    found = scores(labels, min(right, labels), spiegelhalter_z=z)
    given_all = verdict(found, *alarms)
    is_bad = found.ece > found.ece_noise_floor.p95 or abs(z) > 3 or abs(found.gap_z or 0) > 3
    assert (given_all.state in ("no_evidence", "too_few_labels")) == (
        not alarms and not (is_bad and labels >= FEWEST_LABELS)
    )
    assert bool(given_all.reasons) == (given_all.state not in ("no_evidence", "too_few_labels"))
