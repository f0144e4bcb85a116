"""Intervals of shares, compared with scipy and with simulated coverage."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binomtest

from uq4ct.model_store.uncertainty.intervals import paired_share_interval, wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 30), (5, 5), (7, 10), (499, 1000)])
def test_the_interval_of_a_share_is_wilsons(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    found = wilson_interval(successes, trials)
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))


def test_five_of_five_leave_room() -> None:
    found = wilson_interval(5, 5)
    assert (found.low, found.high) == (pytest.approx(0.5655, abs=1e-4), 1.0)


def test_the_paired_interval_by_hand() -> None:
    """Agresti and Min: 2 against 5 of 20 with half a question added to each of four cells: (2 - 5) / 22."""
    differences = torch.tensor([1.0] * 2 + [-1.0] * 5 + [0.0] * 13)
    spread = 1.959964 * (8 - 9 / 22) ** 0.5 / 22
    found = paired_share_interval(differences)
    assert (found.low, found.high) == pytest.approx((-3 / 22 - spread, -3 / 22 + spread), abs=1e-6)


def test_two_models_that_always_agree_are_not_proven_equal() -> None:
    found = paired_share_interval(torch.zeros(5))
    assert found.low == -found.high
    assert 0.2 < found.high < 0.35


@pytest.mark.parametrize(("questions", "ours", "theirs"), [(10, 0.9, 0.9), (40, 0.95, 0.8), (200, 0.7, 0.65)])
def test_the_paired_interval_covers(questions: int, ours: float, theirs: float) -> None:
    source = torch.Generator().manual_seed(2)
    covered = 0
    for _ in range(1000):
        level = torch.rand(questions, generator=source)  # shared: the answers are correlated
        found = paired_share_interval((level < ours).double() - (level < theirs).double())
        covered += found.low <= ours - theirs <= found.high
    assert covered / 1000 >= 0.93


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        wilson_interval(0, 0)
    with pytest.raises(ValueError, match="between 0 and the 5 trials, not 6"):
        wilson_interval(6, 5)
    with pytest.raises(ValueError, match="at least 1 question, not 0"):
        paired_share_interval(torch.zeros(0))
