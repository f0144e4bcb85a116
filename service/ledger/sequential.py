"""Sequential tests of a version's confidence: evidence by betting, valid however often somebody looks at it.

Each test bets, label after label, that its deviation d is above 0 in the mean. Under the null hypothesis
E[d | past] <= 0 the wealth is a nonnegative supermartingale that starts at 1, so it ever passes 1 / a with probability
a at most (Ville 1939). With p the confidence and y = 1 where the answer was right:

    overconfident   d = p - y               underconfident   d = y - p               error_rate   d = 1 - y - bound

The first two are the two sides of one null, E[p - y | past] = 0, and share its error probability alpha: either alarms
at 2 / alpha. The third has an alpha of its own. Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded
random variables by betting".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import get_args

from uq4ct.service.telemetry.metrics import SequentialTest

TESTS: tuple[SequentialTest, ...] = get_args(SequentialTest)
_HIGHEST_BET = 0.5  # keeps the wealth above 0 whatever comes
_MEMORY = 500  # labels; what a bet is sized by fades by a factor e in so many
_FIRST_SUM, _FIRST_SQUARES = 1.0, 4.0  # as of labels before the first, so that the first bets are 1 / 4
_SCALE = 1000.0  # labels in which the reserve begins to be spent


@dataclass(frozen=True, slots=True)
class Wealth:
    """What a test has won: a stake, of which each label moves a share, and a reserve that is handed out slowly.

    The stake begins with a half and gets a part of the reserve before every label. A fault that comes late is then met
    by a stake that the calibrated time before has not used up. Stake and reserve together are a product of factors
    1 + l d with l in [0, 1/2] that depends on the past only. `deviations` and `squares` are fading sums of d and d^2.
    """

    labels: int = 0
    log_stake: float = math.log(0.5)
    deviations: float = _FIRST_SUM
    squares: float = _FIRST_SQUARES

    @property
    def bet(self) -> float:
        """The share of the stake that the next deviation moves, in [0, 1/2]: the mean over the second moment.

        Source: the paper's approximate GRAPA, growth-optimal to second order, here with fading sums.
        """
        return min(max(self.deviations / self.squares, 0.0), _HIGHEST_BET)

    @property
    def log_evidence(self) -> float:
        """The natural logarithm of stake and reserve."""
        return _log_sum(self.log_stake, math.log(_reserve(self.labels)))

    def after(self, deviation: float) -> Wealth:
        """The wealth one label later; `deviation` in [-1, 1]."""
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

    `bound` is the error rate of the null hypothesis of error_rate, fixed at its start; None for the others.
    `alarmed_ms` stays once it is set: one error probability has to last for the life of a version.
    """

    model: str
    version: int
    test: SequentialTest
    bound: float | None
    started_ms: int
    alarmed_ms: int | None = None
    wealth: Wealth = Wealth()

    def after(self, confidence: float, correct: bool, labelled_ms: int, alpha: float) -> RunningTest:
        """The test one label later."""
        wealth = self.wealth.after(self._deviation(confidence, correct))
        alarmed_ms = self.alarmed_ms
        if alarmed_ms is None and wealth.log_evidence >= log_bar(self.test, alpha):
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
                    raise ValueError(f"error_rate of {self.model}@{self.version} has no bound")
                return 1 - correct - self.bound


def log_bar(test: SequentialTest, alpha: float) -> float:
    """The log evidence at which a test alarms."""
    return math.log((1 if test == "error_rate" else 2) / alpha)


def _reserve(labels: int) -> float:
    """The part of the first wealth that is not yet at stake: falls so slowly that at no time a fault finds nothing."""
    return 0.5 / (1 + math.log1p(labels / _SCALE))


def _log_sum(one: float, other: float) -> float:
    """log(e^one + e^other), for a wealth that no float holds."""
    high, low = max(one, other), min(one, other)
    return high + math.log1p(math.exp(low - high))
