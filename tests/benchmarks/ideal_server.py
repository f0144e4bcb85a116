"""How long questions would wait at a server that loses no time: what a load asks of any that answers in batches."""

from __future__ import annotations

import random


def ideal_latencies(forward: float, question: float, rate: float, questions: int, seed: int = 0) -> list[float]:
    """Seconds from arrival to answer where each forward takes everything that waits, and nothing else takes time.

    Args:
        forward: seconds of a forward, however many questions are in it.
        question: seconds more for each of them; `rate * question` is below 1.
        rate: questions a second on average, with exponential gaps.
    """
    gaps = random.Random(seed)
    arrivals: list[float] = []
    now = 0.0
    for _ in range(questions):
        now += gaps.expovariate(rate)
        arrivals.append(now)
    latencies: list[float] = []
    free = 0.0
    while len(latencies) < questions:
        first = len(latencies)
        start = max(free, arrivals[first])
        last = first
        while last < questions and arrivals[last] <= start:
            last += 1
        free = start + forward + question * (last - first)
        latencies += [free - arrival for arrival in arrivals[first:last]]
    return latencies
