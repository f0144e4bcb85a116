"""Latencies at an ideal batching server without overhead: the lower bound for any server under that load."""

from __future__ import annotations

import random


def ideal_latencies(forward: float, question: float, rate: float, questions: int, seed: int = 0) -> list[float]:
    """Simulate seconds from arrival to answer if each forward takes all waiting questions and nothing else takes time.

    Args:
        forward: seconds of a forward, independent of its number of questions.
        question: additional seconds per question; `rate * question` is below 1.
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
