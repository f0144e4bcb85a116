"""The distribution of a number of successes: against scipy, by hand, and against all outcomes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from uq4ct.model_store.uncertainty.poisson_binomial import success_distributions


def distribution(probability: list[float]) -> list[float]:
    """Return the distribution of a single group."""
    (found,) = success_distributions(np.array(probability), np.zeros(len(probability), np.int64), 1)
    return found.tolist()


def test_by_hand() -> None:
    assert distribution([0.25]) == [0.75, 0.25]
    assert distribution([0.5, 0.25]) == [0.375, 0.5, 0.125]
    assert distribution([0.0, 1.0]) == [0.0, 1.0, 0.0]
    assert distribution([]) == [1.0]


def test_all_outcomes_of_eight_trials() -> None:
    probability = np.random.default_rng(1).random(8)
    expected = np.zeros(9)
    for outcome in itertools.product((0, 1), repeat=8):
        expected[sum(outcome)] += np.where(outcome, probability, 1 - probability).prod()
    assert distribution(probability.tolist()) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("trials", [62, 63, 64, 65, 127, 200, 1000, 5000])
@pytest.mark.parametrize("p", [0.001, 0.3, 0.99])
def test_equal_probabilities_are_binomial(trials: int, p: float) -> None:
    """Around every size of a block, and with an odd number of blocks."""
    assert distribution([p] * trials) == pytest.approx(binom.pmf(np.arange(trials + 1), trials, p), abs=1e-12)


def test_mean_and_variance_of_groups_that_are_mixed() -> None:
    source = np.random.default_rng(2)
    probability, group = source.random(3000), source.integers(0, 4, 3000)
    group[group == 2] = 3  # the third group is empty
    found = success_distributions(probability, group, 4)
    assert found[2].tolist() == [1.0]
    for index, one in enumerate(found):
        mine = probability[group == index]
        successes = np.arange(len(mine) + 1)
        assert one.sum() == pytest.approx(1, abs=1e-12)
        assert (one * successes).sum() == pytest.approx(mine.sum(), rel=1e-11)
        variance = (one * (successes - mine.sum()) ** 2).sum()
        assert variance == pytest.approx((mine * (1 - mine)).sum(), rel=1e-9, abs=1e-12)
