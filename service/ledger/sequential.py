"""Sequential tests of a version's confidence: evidence by betting, valid however often it is checked.

Each test bets, label after label, that the mean of its deviation d is above 0. Under the null hypothesis
E[d | past] <= 0 the wealth is a nonnegative supermartingale that starts at 1, so the probability that it ever reaches
1 / a is at most a (Ville 1939). With p the confidence and y = 1 for a right answer:

    overconfident   d = p - y               underconfident   d = y - p               error_rate   d = 1 - y - bound

The first two are the two sides of one null, E[p - y | past] = 0, and share its error probability alpha. The third has
its own alpha, half of which is for its bound, estimated from a finite split. So each raises an alarm at 2 / alpha.
Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import get_args

from uq4ct.model_store.uncertainty.selective import binomial_upper_bound
from uq4ct.service.telemetry.metrics import SequentialTest

TESTS: tuple[SequentialTest, ...] = get_args(SequentialTest)
_HIGHEST_BET = 0.5  # keeps the wealth above 0 for any labels
_MEMORY = 500  # labels after which the sums that size a bet have faded by a factor of e
_FIRST_SUM, _FIRST_SQUARES = 1.0, 4.0  # initial sums, so that the first bet is 1 / 4
_SCALE = 1000.0  # labels over which spending of the reserve starts


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
        return min(max(self.deviations / self.squares, 0.0), _HIGHEST_BET)

    @property
    def log_evidence(self) -> float:
        """The natural logarithm of stake plus reserve."""
        return _log_sum(self.log_stake, math.log(_reserve(self.labels)))

    def after(self, deviation: float) -> Wealth:
        """Return the wealth after one more label; `deviation` in [-1, 1]."""
        handed_out = _reserve(self.labels) - _reserve(self.labels + 1)
        stake = _log_sum(self.log_stake, math.log(handed_out)) + math.log1p(self.bet * deviation)
        kept = 1 - 1 / _MEMORY
        return Wealth(
            labels=self.labels + 1,
            log_stake=stake,
            deviations=kept * self.deviations + deviation,
            squares=kept * self.squares + deviation**2,
        )


@dataclass(frozen=True, slots=True)
class RunningTest:
    """One test of one version; times are Unix milliseconds of labels.

    `bound` is the error rate of the null hypothesis of error_rate, fixed at its start; None for the other tests.
    `alarmed_ms` is never reset: the error probability holds for the whole life of a version.
    """

    model: str
    version: int
    test: SequentialTest
    bound: float | None
    started_ms: int
    alarmed_ms: int | None = None
    wealth: Wealth = Wealth()

    def after(self, confidence: float, correct: bool, labelled_ms: int, alpha: float) -> RunningTest:
        """Return the test after one more label."""
        wealth = self.wealth.after(self._deviation(confidence, correct))
        alarmed_ms = self.alarmed_ms
        if alarmed_ms is None and wealth.log_evidence >= log_bar(alpha):
            alarmed_ms = labelled_ms
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


def _reserve(labels: int) -> float:
    """Return the part of the initial wealth not yet paid out: falls so slowly that some is left for late faults."""
    return 0.5 / (1 + math.log1p(labels / _SCALE))


def _log_sum(one: float, other: float) -> float:
    """Return log(e^one + e^other), for a wealth too large or small for a float."""
    high, low = max(one, other), min(one, other)
    return high + math.log1p(math.exp(low - high))
