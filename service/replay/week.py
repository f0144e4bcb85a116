"""The plan of a week of traffic: when each question is asked and when its label arrives."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from uq4ct.model_store.questions import Question

DAY = 86_400.0  # seconds
_PEAK = 0.6  # relative amplitude of the daily rhythm: 60 % more traffic than average at noon, 60 % less at midnight
_DELAY_SPREAD = 1.0  # standard deviation of the logarithm of a label's delay


@dataclass(frozen=True, slots=True)
class Week:
    """The shape of the traffic.

    From `shift_day` on, the shifted questions are asked, if there are any. A share of answers gets labels, after a
    log-normal delay.
    """

    questions: int = 3000
    days: float = 7.0
    shift_day: float = 5.0
    label_share: float = 0.7
    median_delay: float = 4 * 3600.0  # seconds
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asking:
    """A question asked at `at` and labelled at `label_at`, or never; in seconds since the start."""

    at: float
    question: Question
    label_at: float | None


def plan_week(week: Week, usual: Sequence[Question], shifted: Sequence[Question]) -> Iterator[Asking]:
    """Yield every asking of the week in order of time; questions repeat once all have been asked.

    The times are those of a Poisson process with a daily rhythm, given its number of events.
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
    """Draw a time of the week by rejection sampling from the rate 1 - peak cos(2 pi t / day)."""
    while True:
        at = chance.random() * days * DAY
        if chance.random() * (1 + _PEAK) < 1 - _PEAK * math.cos(2 * math.pi * at / DAY):
            return at


def _shuffled(questions: Sequence[Question], chance: random.Random) -> list[Question]:
    return chance.sample(questions, len(questions))
