"""The drawings of the panels: a method's answers on one split, all seeds together."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.intervals import wilson_interval
from uq4ct.model_store.uncertainty.ranking import risk_coverage
from uq4ct.training.evaluation.axes import MUTED, REFERENCE_LINE, SERIES, SHARE_TICKS, SeriesStyle
from uq4ct.training.evaluation.reliability_diagram import draw_reliability
from uq4ct.training.study.document import PANEL_HEIGHT
from uq4ct.training.study.results import SplitRun, Variant
from uq4ct.training.study.statistics import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HISTOGRAM_BINS = 20
FEU_BINS = 8
FEU_BIN_ANSWERS = 10  # fewer are too few to estimate an accuracy
CURVE_POINTS = 200
X_STEPS = 4  # more labels than that on the x axis would touch
LABEL_CHARACTERS = 16  # of one line of a method's label
LINE_INCHES, ROW_INCHES = 0.15, 0.2  # of a line of a label, and of a method with two intervals
AROUND_INCHES = 1.2  # the title, the ticks, and the legend

Draw: TypeAlias = "Callable[[Axes], None]"


def reliability_panel(variants: Mapping[str, Sequence[SplitRun]]) -> Draw:
    """Draw accuracy against confidence in equal bins, a line per calibration, with the chance band of the first."""

    curves = {calibration_title(name): [run.scored for run in runs] for name, runs in variants.items()}
    return lambda axes: draw_reliability(axes, curves)


def risk_coverage_panel(runs: Sequence[SplitRun], baseline: Sequence[SplitRun] | None, highest: float) -> Draw:
    """Draw the error rate among the most confident answers against their share; mean over seeds."""

    def draw(axes: Axes) -> None:
        ours, theirs = SERIES
        if baseline:
            _draw_curve(axes, baseline, theirs, "baseline")
        _draw_curve(axes, runs, ours, "this method")
        axes.set(xlabel="share answered", ylabel="error rate among them", xlim=(0, 1), ylim=(0, highest))
        axes.set_xticks(SHARE_TICKS)

    return draw


def histogram_panel(values: Tensor, correct: Tensor, highest: float, xlabel: str) -> Draw:
    """Draw the distribution of an uncertainty [n] over right and over wrong answers, with the mean of each."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(0, highest, HISTOGRAM_BINS + 1)
        for group, name, style, alpha in zip((correct, ~correct), ("right", "wrong"), SERIES, (0.35, 0.0), strict=True):
            chosen = values[group].numpy().clip(0, highest)
            if not len(chosen):
                continue
            shares = np.histogram(chosen, edges)[0] / len(chosen)
            look = {"color": style.colour, "linewidth": 1.5}
            axes.stairs(shares, edges, fill=True, color=style.colour, alpha=alpha)
            axes.stairs(shares, edges, linestyle=style.line, **look)
            axes.plot([], [], style.line + style.marker, **look, markersize=5, label=f"{name} ({len(chosen)})")
            _mark_mean(axes, float(chosen.mean()), style)
        axes.set(xlabel=xlabel, ylabel="share of these answers", xlim=(0, highest), ylim=(0, None))
        axes.locator_params(axis="x", nbins=X_STEPS)

    return draw


def feu_panel(runs: Sequence[SplitRun]) -> Draw:
    """Draw accuracy against mean FEU in bins of equally many answers, with 95 % intervals (Wilson 1927)."""

    def draw(axes: Axes) -> None:
        feu, correct = pooled_feu(runs)
        order = feu.argsort()
        groups = min(FEU_BINS, max(1, len(feu) // FEU_BIN_ANSWERS))
        parts = [part for part in torch.tensor_split(order, groups) if len(part)]
        middle = np.array([feu[part].mean().item() for part in parts])
        accuracy = np.array([correct[part].double().mean().item() for part in parts])
        intervals = [wilson_interval(int(correct[part].sum()), len(part)) for part in parts]
        low, high = (np.array([getattr(one, end) for one in intervals]) for end in ("low", "high"))
        bars, (style, _) = (accuracy - low, high - accuracy), SERIES
        axes.plot([0, 1], [0, 1], REFERENCE_LINE, color=MUTED, linewidth=1.2, label="FEU = share right")
        axes.errorbar(middle, accuracy, yerr=bars, fmt=style.marker, color=style.colour, markersize=4)
        axes.set(xlabel="FEU (high = routers are sure)", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
        axes.set(xticks=SHARE_TICKS, yticks=SHARE_TICKS)

    return draw


def measure_panel(
    spreads: Mapping[Variant, Spread], labels: Sequence[str], calibrations: Sequence[str], x: str
) -> Draw:
    """Draw one measure of all methods: the mean over seeds and its interval, a colour and marker per calibration."""

    def draw(axes: Axes) -> None:
        shift = 0.18 if len(calibrations) > 1 else 0.0
        for index, (calibration, style) in enumerate(zip(calibrations, SERIES, strict=False)):
            places = [
                (row, spreads[Variant(label, calibration)])
                for row, label in enumerate(labels)
                if Variant(label, calibration) in spreads
            ]
            if not places:
                continue
            mean = np.array([spread.mean for _, spread in places])
            low = np.array([min(spread.interval.low, spread.mean) for _, spread in places])
            high = np.array([max(spread.interval.high, spread.mean) for _, spread in places])
            rows = np.array([row for row, _ in places]) + shift * (2 * index - 1)
            look = {"fmt": style.marker, "color": style.colour, "markersize": 4}
            axes.errorbar(mean, rows, xerr=(mean - low, high - mean), **look, label=calibration_title(calibration))
        axes.set(xlabel=x, yticks=range(len(labels)), ylim=(len(labels) - 0.4, -0.6))
        axes.set_yticklabels(["\n".join(lines) for lines in map(_wrap, labels)])
        axes.locator_params(axis="x", nbins=X_STEPS)
        axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.6)

    return draw


def measure_height(labels: Sequence[str]) -> float:
    """Return the height in inches of a panel of one measure, in which the labels of the methods do not touch."""
    lines = max(len(_wrap(label)) for label in labels)
    return max(PANEL_HEIGHT, AROUND_INCHES + len(labels) * max(ROW_INCHES, lines * LINE_INCHES))


def calibration_title(name: str) -> str:
    """Return the name of a calibration in a legend."""
    return "uncalibrated" if name == "none" else name


def pooled_feu(runs: Sequence[SplitRun]) -> tuple[Tensor, Tensor]:
    """Return FEU and correctness of all seeds; empty if the method has no routers."""
    pairs = [(run.scored.feu, run.scored.correct) for run in runs if run.scored.feu is not None]
    if not pairs:
        return torch.empty(0), torch.empty(0, dtype=torch.bool)
    return torch.cat([feu for feu, _ in pairs]), torch.cat([correct for _, correct in pairs])


def highest_risk(runs: Sequence[SplitRun]) -> float:
    """Return the maximum of a risk-coverage curve from coverage 0.05; below that it is noisy."""
    coverage, risk = _risk_curve(runs)
    return float(risk[coverage >= 0.05].max())


def _wrap(label: str) -> list[str]:
    return textwrap.wrap(label, LABEL_CHARACTERS)


def _draw_curve(axes: Axes, runs: Sequence[SplitRun], style: SeriesStyle, name: str) -> None:
    look = {"marker": style.marker, "markevery": 0.2, "markersize": 4, "linewidth": 1.5}
    axes.plot(*_risk_curve(runs), style.line, color=style.colour, **look, label=name)


def _mark_mean(axes: Axes, mean: float, style: SeriesStyle) -> None:
    """Draw a dotted line with the marker of the series at its upper end."""
    across = axes.get_xaxis_transform()
    look = {"color": style.colour, "linewidth": 1.2, "marker": style.marker, "markersize": 5, "clip_on": False}
    axes.plot([mean, mean], [0, 1], ":", **look, markevery=[1], transform=across)


def _risk_curve(runs: Sequence[SplitRun]) -> tuple[np.ndarray, np.ndarray]:
    curves = [risk_coverage(run.scored.confidence, run.scored.correct) for run in runs]
    risk = torch.stack([risk for _, risk in curves]).mean(dim=0)
    chosen = torch.linspace(0, len(risk) - 1, min(CURVE_POINTS, len(risk))).long()
    return curves[0][0][chosen].numpy(), risk[chosen].numpy()
