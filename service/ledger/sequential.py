"""Sequential tests of a version's confidence: evidence by betting, valid however often it is checked.

Each test bets, label after label, that the mean of its deviation d is above 0. Under the null hypothesis
E[d | past] <= 0 the wealth is a nonnegative supermartingale that starts at 1, so the probability that it ever reaches
1 / a is at most a (Ville 1939). With p the confidence and y = 1 for a right answer:

    overconfident   d = p - y               underconfident   d = y - p               error_rate   d = 1 - y - bound

The first two are the two sides of one null, E[p - y | past] = 0, and share its error probability alpha. The third has
its own alpha, half of which is for its bound, estimated from a finite split. So each raises an alarm at 2 / alpha.
Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting".

Every tenant has tests of its own labels, and one more family of tests counts the labels of all tenants. Each family
keeps to its own alpha: with n tenants, n + 1 families may each raise a false alarm with probability alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, get_args

from uq4ct.model_store.uncertainty.selective import binomial_upper_bound
from uq4ct.service.telemetry.metrics import SequentialTest

TESTS: tuple[SequentialTest, ...] = get_args(SequentialTest)
_HIGHEST_BET = 0.5  # keeps the wealth above 0 for any labels
_MEMORY = 500  # labels after which the sums that size a bet have faded by a factor of e
_KEPT = 1 - 1 / _MEMORY  # part of such a sum that a label leaves
_FIRST_SUM, _FIRST_SQUARES = 1.0, 4.0  # initial sums, so that the first bet is 1 / 4
_SCALE = 1000.0  # labels over which spending of the reserve starts


class CountedLabel(NamedTuple):
    """A label as the tests see it: the confidence of the answer, whether it was right, when the label came."""

    confidence: float
    correct: bool
    labelled_ms: int


@dataclass(frozen=True, slots=True)
class Wealth:
    """The wealth of a test: a stake, a share of which is bet on each label, and a reserve that is paid out slowly.

    The stake starts at 1/2 and receives a part of the reserve before every label, so that a long calibrated period
    does not use up the stake before a late fault. Stake plus reserve is a product of factors 1 + l d, where l in
    [0, 1/2] depends on the past only. `deviations` and `squares` are fading sums of d and d^2.
    """

    labels: int = 0
    log_stake: float = math.log(0.5)
    deviations: float = _FIRST_SUM
    squares: float = _FIRST_SQUARES

    @property
    def bet(self) -> float:
        """The share of the stake to bet on the next label, in [0, 1/2]: the mean divided by the second moment.

        Source: the paper's approximate GRAPA, growth-optimal to second order, here with fading sums.
        """
        return _bet(self.deviations, self.squares)

    @property
    def log_evidence(self) -> float:
        """The natural logarithm of stake plus reserve."""
        return _log_sum(self.log_stake, math.log(_reserve(self.labels)))

    def after(self, deviation: float) -> Wealth:
        """Return the wealth after one more label; `deviation` in [-1, 1]."""
        return self.after_all([deviation], math.inf)[0]

    def after_all(self, deviations: Sequence[float], bar: float) -> tuple[Wealth, int | None]:
        """Return the wealth after more labels, and the index of the first after which the log evidence reaches `bar`.

        Without an object for each label, which would take most of the time.
        """
        stake, total, squares, reserve = self.log_stake, self.deviations, self.squares, _reserve(self.labels)
        reached: int | None = None
        for index, deviation in enumerate(deviations):
            left = _reserve(self.labels + index + 1)
            won = math.log1p(_bet(total, squares) * deviation)
            stake = _log_sum(stake, math.log(reserve - left)) + won
            reserve = left
            total = _KEPT * total + deviation
            squares = _KEPT * squares + deviation**2
            if reached is None and _log_sum(stake, math.log(reserve)) >= bar:
                reached = index
        return Wealth(self.labels + len(deviations), stake, total, squares), reached


@dataclass(frozen=True, slots=True)
class RunningTest:
    """One test of one version; times are Unix milliseconds of labels.

    `tenant` is the one whose labels count; None = those of all tenants.
    `bound` is the error rate of the null hypothesis of error_rate, fixed at its start; None for the other tests.
    `alarmed_ms` is never reset: the error probability holds for the whole life of a version.
    """

    tenant: str | None
    model: str
    version: int
    test: SequentialTest
    bound: float | None
    started_ms: int
    alarmed_ms: int | None = None
    wealth: Wealth = Wealth()

    def after(self, labels: Sequence[CountedLabel], alpha: float) -> RunningTest:
        """Return the test after more labels, in their order."""
        bar = log_bar(alpha) if self.alarmed_ms is None else math.inf
        deviations = [self._deviation(confidence, correct) for confidence, correct, _ in labels]
        wealth, reached = self.wealth.after_all(deviations, bar)
        alarmed_ms = self.alarmed_ms if reached is None else labels[reached].labelled_ms
        return replace(self, wealth=wealth, alarmed_ms=alarmed_ms)

    def _deviation(self, confidence: float, correct: bool) -> float:
        match self.test:
            case "overconfident":
                return confidence - correct
            case "underconfident":
                return correct - confidence
            case "error_rate":
                if self.bound is None:
                    raise ValueError(f"test error_rate of {self.model}@{self.version} needs a bound (got None)")
                return 1 - correct - self.bound


def log_bar(alpha: float) -> float:
    """Return the log evidence at which a test raises an alarm."""
    return math.log(2 / alpha)


def allowed_error_rate(errors: int, questions: int, margin: float, alpha: float) -> float:
    """Return the allowed error rate of a version with that many errors on its calibration split.

    It is the split's error rate plus the margin. Where few questions leave the true rate uncertain, it is the upper
    bound of that rate, which fails with probability alpha / 2, if that is higher.
    """
    return max(min(errors / questions + margin, 1.0), binomial_upper_bound(errors, questions, alpha / 2))


def _bet(deviations: float, squares: float) -> float:
    return min(max(deviations / squares, 0.0), _HIGHEST_BET)


def _reserve(labels: int) -> float:
    """Return the part of the initial wealth not yet paid out: falls so slowly that some is left for late faults."""
    return 0.5 / (1 + math.log1p(labels / _SCALE))


def _log_sum(one: float, other: float) -> float:
    """Return log(e^one + e^other), for a wealth too large or small for a float."""
    high, low = max(one, other), min(one, other)
    return high + math.log1p(math.exp(low - high))
