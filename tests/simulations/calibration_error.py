"""Coverage of the intervals of calibration errors, and how often they call a difference real, in five worlds.

`python -m tests.simulations.calibration_error` prints the tables of training/LOG.md. `before` is the interval that was
replaced: the percentile bootstrap of the plug-in ECE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from tests.plain_bootstrap import plain_bootstrap
from uq4ct.model_store.uncertainty.calibration_error import expected_calibration_error, reliability_bins
from uq4ct.model_store.uncertainty.intervals import Interval
from uq4ct.model_store.uncertainty.squared_calibration_error import (
    Confidences,
    squared_calibration_error,
    squared_calibration_error_difference,
)

SIZES = (100, 400, 1000)
_LARGE = 2_000_000  # questions that determine the true errors

Pair = tuple[Confidences, Confidences]
Draw = Callable[[int, torch.Generator], Pair]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of the draws: the interval of each model, and of their difference, contains the truth; the difference
    excludes 0; `width` is the mean width of the difference's interval."""

    ours: float
    theirs: float
    difference: float
    excludes_zero: float
    width: float


def uniform(low: float, high: float, n: int, source: torch.Generator) -> Tensor:
    """Draw n values in [low, high)."""
    return low + (high - low) * torch.rand(n, generator=source, dtype=torch.float64)


def both_calibrated(n: int, source: torch.Generator) -> Pair:
    """Confidence 0.97, and confidences in [0.51, 0.95]; each is right with exactly that probability."""
    ours, theirs = torch.full((n,), 0.97, dtype=torch.float64), uniform(0.51, 0.95, n, source)
    return _answered(ours, ours, source), _answered(theirs, theirs, source)


def calibrated_and_overconfident(n: int, source: torch.Generator) -> Pair:
    """The same answers with a calibrated confidence, and with twice its log-odds, raised by 0.3."""
    ours = _answered(rate := uniform(0.4, 0.99, n, source), rate, source)
    return ours, Confidences((2 * rate.logit() + 0.3).sigmoid(), ours.correct)


def equally_overconfident(n: int, source: torch.Generator) -> Pair:
    """Different answers; the confidence halves the distance of the rate to 1."""
    rate = uniform(0.4, 0.95, n, source)
    confidence = (1 + rate) / 2
    return _answered(confidence, rate, source), _answered(confidence, rate, source)


def under_and_overconfident(n: int, source: torch.Generator) -> Pair:
    """The same answers with log-odds multiplied by 0.6 and by 1.7."""
    odds = 1.3 + 1.2 * torch.randn(n, generator=source, dtype=torch.float64)
    ours = _answered((0.6 * odds).sigmoid(), odds.sigmoid(), source)
    return ours, Confidences((1.7 * odds).sigmoid(), ours.correct)


def few_errors(n: int, source: torch.Generator) -> Pair:
    """The same answers, 5 % of them wrong, with a calibrated confidence and with 0.3 of its distance to 1."""
    rate = uniform(0.9, 0.9999, n, source)
    ours = _answered(rate, rate, source)
    return ours, Confidences(1 - 0.3 * (1 - rate), ours.correct)


WORLDS: Mapping[str, Draw] = {
    "both calibrated": both_calibrated,
    "calibrated, overconfident": calibrated_and_overconfident,
    "equally overconfident": equally_overconfident,
    "under-, overconfident": under_and_overconfident,
    "few errors": few_errors,
}


def true_errors(draw: Draw, error: Callable[[Confidences], float]) -> tuple[float, float]:
    """Return an error of both models on very many questions."""
    ours, theirs = draw(_LARGE, torch.Generator().manual_seed(1))
    return error(ours), error(theirs)


def squared_on_many(run: Confidences) -> float:
    """Return the squared calibration error of very many questions, where its noise does not matter."""
    table = reliability_bins(run.confidence, run.correct)
    gaps = (table.correct_sum - table.confidence_sum) / table.count.clamp(min=1)
    return (table.count * gaps.square()).sum().item() / len(run.confidence)


def coverage_of_squared(draw: Draw, questions: int, draws: int, seed: int = 0) -> Coverage:
    """Simulate the intervals of the squared calibration error."""
    return _coverage(
        draw,
        true_errors(draw, squared_on_many),
        lambda run: squared_calibration_error([run]).root_interval,
        lambda ours, theirs: squared_calibration_error_difference([ours], [theirs]).interval,
        (questions, draws, seed),
        root=True,
    )


def coverage_of_plug_in(draw: Draw, questions: int, draws: int, seed: int = 0) -> Coverage:
    """Simulate the bootstrap intervals of the ECE."""
    return _coverage(
        draw,
        true_errors(draw, lambda run: expected_calibration_error(*run)),
        lambda run: plain_bootstrap(lambda rows: _ece(run, rows), questions, draws=200),
        lambda ours, theirs: plain_bootstrap(lambda rows: _ece(ours, rows) - _ece(theirs, rows), questions, 200),
        (questions, draws, seed),
    )


def _coverage(
    draw: Draw,
    truth: tuple[float, float],
    one: Callable[[Confidences], Interval],
    pair: Callable[[Confidences, Confidences], Interval],
    size: tuple[int, int, int],
    *,
    root: bool = False,
) -> Coverage:
    questions, draws, seed = size
    source = torch.Generator().manual_seed(seed)
    true = [max(value, 0.0) ** 0.5 if root else value for value in truth]
    held = torch.zeros(5, dtype=torch.float64)
    for _ in range(draws):
        runs = draw(questions, source)
        found = pair(*runs)
        held += torch.tensor(
            [
                *(_contains(one(run), value) for run, value in zip(runs, true, strict=True)),
                _contains(found, truth[0] - truth[1]),
                not _contains(found, 0.0),
                found.high - found.low,
            ],
            dtype=torch.float64,
        )
    return Coverage(*(held / draws).tolist())


def _contains(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def _answered(confidence: Tensor, rate: Tensor, source: torch.Generator) -> Confidences:
    return Confidences(confidence, torch.rand(len(rate), generator=source, dtype=torch.float64) < rate)


def _ece(run: Confidences, rows: Tensor) -> float:
    return expected_calibration_error(run.confidence[rows], run.correct[rows])


def _print_tables(draws: int = 1000, draws_before: int = 200) -> None:
    console = Console(soft_wrap=True)
    progress = Console(stderr=True)
    for title, simulate, count in (
        ("before: bootstrap of the plug-in ECE", coverage_of_plug_in, draws_before),
        ("after: debiased squared calibration error", coverage_of_squared, draws),
    ):
        console.print(f"\n{title}, {count} draws\n")
        console.print("| world | questions | covers A | covers B | covers A - B | A - B excludes 0 | width of A - B |")
        console.print("|---|---|---|---|---|---|---|")
        cells = [(name, draw, n) for name, draw in WORLDS.items() for n in SIZES]
        for name, draw, n in track(cells, title, console=progress):
            found = simulate(draw, n, count)
            console.print(
                f"| {name} | {n} | {found.ours:.3f} | {found.theirs:.3f} | {found.difference:.3f} | "
                f"{found.excludes_zero:.3f} | {found.width:.4f} |"
            )


if __name__ == "__main__":
    _print_tables()
