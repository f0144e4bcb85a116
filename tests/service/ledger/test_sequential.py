"""The sequential tests: an exact martingale, few false alarms, and early detection even of late shifts."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.exchangeability_testing import RiskMonitoring
from scipy.stats import binomtest

from tests.simulations.error_rate_alarm import SIZES, bound_now, share_of_alarms
from uq4ct.service.ledger.sequential import CountedLabel, RunningTest, Wealth, allowed_error_rate, log_bar
from uq4ct.service.telemetry.metrics import SequentialTest

ALPHA = 0.05
PAIR: tuple[SequentialTest, ...] = ("overconfident", "underconfident")
deviations = st.lists(st.floats(-1, 1), max_size=40)
Label = tuple[float, bool]


def started(test: SequentialTest, bound: float | None = None) -> RunningTest:
    return RunningTest(None, "toy", 1, test, bound, started_ms=0)


def after(test: RunningTest, confidence: float, correct: bool, moment: int) -> RunningTest:
    """Return the test after one more label."""
    return test.after([CountedLabel(confidence, correct, moment)], ALPHA)


def draw_labels(seed: int, overconfidence: Callable[[int], float] = lambda _: 0.0) -> Iterator[Label]:
    """Yield confidences uniform over [0.4, 1], and labels that are right less often by `overconfidence(index)`."""
    draw = random.Random(seed)
    for number in itertools.count():
        p = draw.uniform(0.4, 1.0)
        yield p, draw.random() < p - overconfidence(number)


def first_alarm(test: RunningTest, labels: Iterator[Label], most: int) -> int | None:
    """Return the number of the label that raises the alarm; None if none of the first `most` does."""
    for number, (confidence, correct) in enumerate(itertools.islice(labels, most), 1):
        test = after(test, confidence, correct, number)
        if test.alarmed_ms is not None:
            return number
    return None


def test_three_labels_by_hand() -> None:
    """With d = 1/2, -1/4, 1/2, and the bet of each step written out."""
    reserve = [0.5 / (1 + math.log(1 + labels / 1000)) for labels in range(4)]
    kept = 499 / 500
    bet_1 = 1 / 4
    bet_2 = (kept * 1 + 1 / 2) / (kept * 4 + 1 / 4)
    bet_3 = (kept * (kept * 1 + 1 / 2) - 1 / 4) / (kept * (kept * 4 + 1 / 4) + 1 / 16)
    stake = (0.5 + reserve[0] - reserve[1]) * (1 + bet_1 / 2)
    stake = (stake + reserve[1] - reserve[2]) * (1 - bet_2 / 4)
    stake = (stake + reserve[2] - reserve[3]) * (1 + bet_3 / 2)
    test = started("overconfident")
    assert test.wealth.log_evidence == 0.0
    for number, (confidence, correct) in enumerate([(0.5, False), (0.75, True), (0.5, False)]):
        test = after(test, confidence, correct, number)
    assert test.wealth.labels == 3
    assert math.exp(test.wealth.log_evidence) == pytest.approx(stake + reserve[3], rel=1e-12)
    mirrored = after(after(started("underconfident"), 0.5, True, 0), 0.25, False, 1)
    assert after(mirrored, 0.5, True, 2).wealth == test.wealth


@given(deviations)
def test_the_evidence_is_a_product_of_predictable_bets_of_at_most_a_half(past: list[float]) -> None:
    wealth = reduce(Wealth.after, past, Wealth())
    before = math.exp(wealth.log_evidence)
    bets = {d: (math.exp(wealth.after(d).log_evidence) / before - 1) / d for d in (-1.0, -0.3, 0.2, 1.0)}
    assert -1e-9 <= min(bets.values()) <= max(bets.values()) <= 0.5 + 1e-9
    assert max(bets.values()) - min(bets.values()) < 1e-9  # the bet was made before d was known
    assert math.exp(wealth.after(0.0).log_evidence) == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize("test", PAIR)
def test_the_mean_over_all_outcomes_of_calibrated_answers_is_exactly_1(test: SequentialTest) -> None:
    confidences = [0.9, 0.4, 0.55, 0.7, 0.99, 0.3, 0.8, 0.6, 0.5, 0.95]
    mean = 0.0
    for outcome in itertools.product((False, True), repeat=len(confidences)):
        state, probability = started(test), 1.0
        for p, correct in zip(confidences, outcome, strict=True):
            state = after(state, p, correct, 0)
            probability *= p if correct else 1 - p
        mean += probability * math.exp(state.wealth.log_evidence)
    assert mean == pytest.approx(1.0, abs=1e-12)


@pytest.mark.slow
def test_calibrated_streams_rarely_alarm() -> None:
    """Of 200 streams at 5 %, at most 10 are expected to alarm, counting alarms of either side."""
    bar, alarms = log_bar(ALPHA), 0
    for seed in range(200):
        over = under = Wealth()
        for p, correct in itertools.islice(draw_labels(seed), 5000):
            over, under = over.after(p - correct), under.after(correct - p)
            if max(over.log_evidence, under.log_evidence) >= bar:
                alarms += 1
                break
    assert alarms <= 10


@pytest.mark.parametrize(("test", "shift"), [("overconfident", 0.1), ("underconfident", -0.1)])
def test_a_shift_of_10_points_is_noticed_within_1000_labels(test: SequentialTest, shift: float) -> None:
    alarms = [first_alarm(started(test), draw_labels(seed, lambda _: shift), 1000) for seed in range(200)]
    assert sum(alarm is not None for alarm in alarms) >= 190
    other = PAIR[1 - PAIR.index(test)]
    assert all(first_alarm(started(other), draw_labels(seed, lambda _: shift), 1000) is None for seed in range(20))


@pytest.mark.slow
def test_a_shift_after_a_long_calibrated_time_is_noticed_as_well() -> None:
    calm = 10_000
    alarms = [
        first_alarm(started("overconfident"), draw_labels(seed, lambda n: 0.1 if n >= calm else 0.0), calm + 1000)
        for seed in range(40)
    ]
    assert sum(alarm is not None and alarm > calm for alarm in alarms) >= 38


def test_an_alarm_stays_at_the_label_that_raised_it() -> None:
    test = started("overconfident")
    for moment in range(40):
        test = after(test, 0.9, False, moment)
    first = test.alarmed_ms
    assert first is not None
    assert 0 < first < 20
    for moment in range(40, 400):
        test = after(test, 0.9, True, moment)
    assert test.alarmed_ms == first
    assert test.wealth.labels == 400


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60), st.integers(0, 60))
def test_labels_counted_together_count_as_one_after_the_other(seen: list[Label], cut: int) -> None:
    """Exactly: the ledger counts in rounds of any size, and the state must not depend on them."""
    one_by_one = together = started("overconfident")
    labels = [CountedLabel(p, correct, moment) for moment, (p, correct) in enumerate(seen)]
    for label in labels:
        one_by_one = one_by_one.after([label], ALPHA)
    for part in (labels[:cut], labels[cut:]):
        together = together.after(part, ALPHA)
    assert together == one_by_one


def test_the_bar_is_half_of_alpha() -> None:
    assert log_bar(0.05) == math.log(40)
    wealth = Wealth(log_stake=math.log(39.4), labels=0)  # and a reserve of 1/2
    quiet = RunningTest(None, "toy", 1, "underconfident", None, 0, wealth=wealth)
    assert after(quiet, 1.0, True, 5).alarmed_ms is None
    assert after(quiet, 0.6, True, 5).alarmed_ms == 5


def test_evidence_that_no_float_holds_is_carried_as_its_logarithm() -> None:
    wealth = reduce(Wealth.after, [1.0] * 5000, Wealth())
    assert wealth.log_evidence == pytest.approx(5000 * math.log(1.5), rel=0.01)
    assert math.isfinite(reduce(Wealth.after, [-1.0] * 5000, wealth).log_evidence)


def draw_errors(seed: int, rate: float, labels: int) -> list[bool]:
    draw = random.Random(seed)
    return [draw.random() < rate for _ in range(labels)]


def ours_alarms(errors: list[bool], bound: float) -> int | None:
    return first_alarm(started("error_rate", bound), ((0.5, not wrong) for wrong in errors), len(errors))


def oracle_alarms(errors: list[bool], bound: float) -> int | None:
    """Return the label at which MAPIE's monitor alarms; it halves its level for a given bound, as we do."""
    monitor = RiskMonitoring(risk="accuracy", threshold=bound, test_level=ALPHA, warn=False)
    monitor.update(np.zeros(len(errors), dtype=int), np.array(errors, dtype=int))
    above = monitor.online_risk_lower_bound_sequence_history > bound
    return int(above.argmax()) + 1 if above.any() else None


@pytest.mark.parametrize("seed", range(10))
def test_the_error_rate_alarms_where_the_oracle_does_and_no_later(seed: int) -> None:
    bound = 0.25
    for rate in (0.2, bound):
        errors = draw_errors(seed, rate, 1500)
        assert ours_alarms(errors, bound) is None
        assert oracle_alarms(errors, bound) is None
    errors = draw_errors(seed, 0.45, 600)
    oracle, ours = oracle_alarms(errors, bound), ours_alarms(errors, bound)
    assert oracle is not None
    assert ours is not None
    assert ours <= oracle


def test_the_error_rate_needs_its_bound() -> None:
    with pytest.raises(ValueError, match="error_rate of toy@1 needs a bound"):
        after(started("error_rate"), 0.5, True, 0)


@pytest.mark.parametrize(("errors", "questions"), [(0, 30), (3, 30), (10, 100), (40, 400)])
def test_the_allowed_error_rate_knows_its_own_uncertainty(errors: int, questions: int) -> None:
    upper = binomtest(errors, questions, alternative="less").proportion_ci(1 - ALPHA / 2).high
    assert allowed_error_rate(errors, questions, 0.05, ALPHA) == pytest.approx(max(errors / questions + 0.05, upper))


def test_the_margin_counts_where_questions_are_many() -> None:
    assert allowed_error_rate(100, 1000, 0.05, ALPHA) == pytest.approx(0.15)
    assert allowed_error_rate(10, 100, 0.05, ALPHA) > 0.17
    assert allowed_error_rate(30, 30, 0.05, ALPHA) == 1


@pytest.mark.slow
@pytest.mark.parametrize("questions", SIZES)
def test_an_unchanged_version_rarely_alarms_about_its_errors(questions: int) -> None:
    """Of 200 runs at 5 %, at most 10 are expected to alarm, the draw of the calibration split included."""
    unchanged = {"fitted_rate": 0.3, "live_rate": 0.3, "runs": 200, "labels": 5000, "bar": log_bar(ALPHA)}
    assert share_of_alarms(bound_now, questions, **unchanged) <= 0.05
    worse = {"fitted_rate": 0.3, "live_rate": 0.6, "runs": 40, "labels": 2000, "bar": log_bar(ALPHA)}
    assert share_of_alarms(bound_now, max(questions, 100), **worse) >= 0.95
