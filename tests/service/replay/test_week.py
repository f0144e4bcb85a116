from __future__ import annotations

import pytest

from uq4ct.model_store.questions import Question
from uq4ct.service.replay.week import DAY, Asking, Week, plan_week

USUAL = tuple(Question(f"u{n}", f"usual {n}", ("a", "b"), answer=n % 2) for n in range(7))
SHIFTED = tuple(Question(f"s{n}", f"shifted {n}", ("a", "b", "c"), answer=2) for n in range(3))


def planned(**fields: float) -> list[Asking]:
    return list(plan_week(Week(questions=4000, **fields), USUAL, SHIFTED))  # pyright: ignore[reportArgumentType]


def test_a_week_has_its_questions_in_the_order_of_time_each_pool_in_turn() -> None:
    plan = planned()
    assert len(plan) == 4000
    assert [one.at for one in plan] == sorted(one.at for one in plan)
    assert plan[0].at >= 0
    assert plan[-1].at <= 7 * DAY
    before = [one.question.id for one in plan if one.at < 5 * DAY]
    assert set(before[:7]) == {question.id for question in USUAL}
    assert before[7:14] == before[:7]


def test_from_the_shift_on_only_shifted_questions_are_asked() -> None:
    for one in planned(shift_day=2.5):
        assert (one.question in SHIFTED) == (one.at >= 2.5 * DAY)


def test_without_shifted_questions_the_usual_ones_go_on() -> None:
    assert {one.question for one in plan_week(Week(), USUAL, ())} == set(USUAL)


def test_more_is_asked_by_day_than_by_night() -> None:
    # The rate is 1 - 0.6 cos(2 pi t / day): over the middle half of a day its mean is 1 + 1.2 / pi = 1.382, so that
    # half has 0.691 of the questions, with a standard deviation of sqrt(0.691 * 0.309 / 4000) = 0.0073.
    noon = [one for one in planned() if 0.25 <= one.at % DAY / DAY < 0.75]
    assert len(noon) / 4000 == pytest.approx(0.691, abs=4 * 0.0073)


def test_labels_come_late_and_for_a_share() -> None:
    plan = planned(label_share=0.7, median_delay=3600.0)
    delays = sorted(one.label_at - one.at for one in plan if one.label_at is not None)
    assert len(delays) / 4000 == pytest.approx(0.7, abs=4 * (0.7 * 0.3 / 4000) ** 0.5)
    assert delays[0] > 0
    # The median of n log-normal draws: standard error of its logarithm sqrt(pi / 2 / n) = 0.024.
    assert delays[len(delays) // 2] == pytest.approx(3600, rel=0.1)


def test_the_same_seed_gives_the_same_week_and_another_seed_another() -> None:
    assert planned(seed=3) == planned(seed=3)
    assert planned(seed=3) != planned(seed=4)
