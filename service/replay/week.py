"""What happens in a week of traffic: who asks when, and whose true answer becomes known when."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from uq4ct.model_store.questions import Question

DAY = 86_400.0  # seconds
_PEAK = 0.6  # at noon of each day so much more is asked than on average, at midnight so much less
_DELAY_SPREAD = 1.0  # standard deviation of the logarithm of a label's delay


@dataclass(frozen=True, slots=True)
class Week:
    """The shape of the traffic.

    From `shift_day` on, the shifted questions are asked, where there are any. Labels are partly missing, and come with
    a log-normal delay.
    """

    questions: int = 3000
    days: float = 7.0
    shift_day: float = 5.0
    label_share: float = 0.7
    median_delay: float = 4 * 3600.0  # seconds
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asking:
    """A question asked at `at`, whose true option is told at `label_at`, if ever; seconds since the start."""

    at: float
    question: Question
    label_at: float | None


def plan_week(week: Week, usual: Sequence[Question], shifted: Sequence[Question]) -> Iterator[Asking]:
    """Every asking of the week, in the order of time; questions come again once all were asked.

    The gaps are those of a Poisson process whose rate has a daily rhythm, with its number of events given.
    """
    chance = random.Random(week.seed)
    times = sorted(_draw_time(chance, week.days) for _ in range(week.questions))
    pools = {False: _shuffled(usual, chance), True: _shuffled(shifted or usual, chance)}
    for number, at in enumerate(times):
        pool = pools[at >= week.shift_day * DAY]
        delay = week.median_delay * math.exp(chance.gauss(0, _DELAY_SPREAD))
        label_at = at + delay if chance.random() < week.label_share else None
        yield Asking(at, pool[number % len(pool)], label_at)


def _draw_time(chance: random.Random, days: float) -> float:
    """One time of the week by rejection under the rhythm 1 - peak cos(2 pi t / day)."""
    while True:
        at = chance.random() * days * DAY
        if chance.random() * (1 + _PEAK) < 1 - _PEAK * math.cos(2 * math.pi * at / DAY):
            return at


def _shuffled(questions: Sequence[Question], chance: random.Random) -> list[Question]:
    return chance.sample(questions, len(questions))
