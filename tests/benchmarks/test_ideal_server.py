from __future__ import annotations

import statistics

import pytest

from tests.benchmarks.ideal_server import ideal_latencies


def test_who_is_alone_waits_for_a_forward_of_one() -> None:
    assert ideal_latencies(0.08, 0.02, rate=1e-6, questions=50) == pytest.approx([0.1] * 50)


def test_who_comes_during_a_forward_waits_for_its_rest_and_for_the_next() -> None:
    assert statistics.mean(ideal_latencies(0.08, 0.0, rate=1e5, questions=200_000)) == pytest.approx(0.12, rel=0.02)


def test_the_queue_does_not_grow_and_a_forward_takes_what_came_during_the_last() -> None:
    early, late = 20_000, 80_000
    latencies = ideal_latencies(0.08, 0.02, rate=0.8 / 0.02, questions=100_000)
    assert statistics.mean(latencies[:early]) == pytest.approx(statistics.mean(latencies[late:]), rel=0.1)
    # In the mean a forward holds n = rate * (forward + question * n) questions: 16 of them, in 0.4 s.
    assert statistics.mean(latencies) == pytest.approx(1.5 * 0.4, rel=0.15)
