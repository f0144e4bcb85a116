"""How often the alarm of the error rate is raised for a version whose error rate never changed, and for a worse one.

`python -m tests.simulations.error_rate_alarm` prints the table of training/LOG.md. `before` is the bound that was
replaced: the error rate of the calibration split plus the margin, whatever the size of the split.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from rich.console import Console

from uq4ct.service.ledger.sequential import Wealth, allowed_error_rate, log_bar

ALPHA, MARGIN = 0.05, 0.05
SIZES = (30, 100, 200, 400)
Bound = Callable[[int, int], float]  # of errors and questions


def bound_before(errors: int, questions: int) -> float:
    """Return the replaced bound."""
    return errors / questions + MARGIN


def bound_now(errors: int, questions: int) -> float:
    """Return the present bound at the default settings."""
    return allowed_error_rate(errors, questions, MARGIN, ALPHA)


def share_of_alarms(
    bound_of: Bound, questions: int, *, fitted_rate: float, live_rate: float, runs: int, labels: int, bar: float
) -> float:
    """Return the share of runs that alarm within so many labels; each draws its own calibration split."""
    alarms = 0
    for seed in range(runs):
        draw = random.Random(seed)
        bound = bound_of(sum(draw.random() < fitted_rate for _ in range(questions)), questions)
        wealth = Wealth()
        for _ in range(labels):
            wealth = wealth.after((draw.random() < live_rate) - bound)
            if wealth.log_evidence >= bar:
                alarms += 1
                break
    return alarms / runs


def _print_table(runs: int = 200, labels: int = 5000) -> None:
    console = Console(soft_wrap=True)
    console.print("| calibration questions | unchanged, before | unchanged, now | worse by 0.15, before | now |")
    console.print("|---|---|---|---|---|")
    for questions in SIZES:
        cells = [
            share_of_alarms(bound, questions, fitted_rate=0.3, live_rate=0.3 + worse, runs=runs, labels=labels, bar=bar)
            for worse in (0.0, 0.15)
            for bound, bar in ((bound_before, log_bar(2 * ALPHA)), (bound_now, log_bar(ALPHA)))
        ]
        console.print(f"| {questions} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")


if __name__ == "__main__":
    _print_table()
