"""The plots of a calibration report as inline SVG: live numbers in dark blue, references dashed in light orange.

Colour-blind readers and grey prints tell these apart by their lightness, and by markers and lines.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence

from uq4ct.model_store.environment import hidden_variable
from uq4ct.model_store.uncertainty.bins import BINS
from uq4ct.service.reports.days import DaysView
from uq4ct.service.schemas.calibration import CalibrationBin, CurvePoint, LabelledView

with hidden_variable("MPLBACKEND"):  # it may name a backend that is not installed; plots need none
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

LIVE, REFERENCE, GREY = "#0b3c6f", "#d9730d", "#8b95a3"
LIVE_MARKER, REFERENCE_MARKER = "o", "s"
DAY_TICKS = 6  # more dates than that would touch
_WIDTH = 4.6  # of a column, in inches
_EDGES = tuple(index / BINS for index in range(BINS + 1))
# A decorator, since axes take their style when they are created.
_styled = mpl.rc_context(
    {
        "svg.fonttype": "none",  # keep text as text
        "svg.hashsalt": "calibration-report",  # make the output reproducible
        "font.family": "sans-serif",
        "font.size": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.major.pad": 6.0,  # so that the labels of both axes do not touch in the corner
        "legend.frameon": False,
        "legend.fontsize": 8.0,
    }
)


@_styled
def draw_reliability(labelled: LabelledView) -> str:
    """Draw accuracy against confidence by bin with 95 % intervals, above the number of answers per bin."""
    figure = _new_figure(4.6)
    diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    diagram.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfectly calibrated")
    found = [(one.mean_confidence, one.accuracy, one.accuracy_interval) for one in labelled.bins]
    filled = [(p, y, interval) for p, y, interval in found if p is not None and y is not None and interval is not None]
    diagram.errorbar(
        [p for p, _, _ in filled],
        [y for _, y, _ in filled],
        yerr=[[max(y - i.low, 0) for _, y, i in filled], [max(i.high - y, 0) for _, y, i in filled]],
        fmt=LIVE_MARKER,
        color=LIVE,
        markersize=4,
        capsize=2,
        clip_on=False,
        label="live, 95 % interval",
    )
    diagram.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    _legend(diagram)
    _fill_bins(counts, [one.predictions for one in labelled.bins], GREY, "all")
    _fill_bins(counts, [one.labelled for one in labelled.bins], LIVE, "labelled")
    counts.set(xlabel="confidence", ylabel="answers")
    counts.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    _legend(counts)
    return _to_svg(figure, "Reliability diagram")


@_styled
def draw_selective(live: Sequence[CurvePoint] | None, reference: Sequence[CurvePoint] | None) -> str:
    """Draw coverage and selective risk over the threshold, live and on the calibration split."""
    figure = _new_figure(4.6)
    coverage, risk = figure.subplots(2, 1, sharex=True)
    for points, name, color, line in (
        (live, "live", LIVE, f"-{LIVE_MARKER}"),
        (reference, "calibration split", REFERENCE, f"--{REFERENCE_MARKER}"),
    ):
        if points is None:
            continue
        look = {"color": color, "where": "mid", "markevery": max(1, len(points) // 10), "markersize": 4}
        thresholds = [point.threshold for point in points]
        coverage.step(thresholds, [p.coverage for p in points], line, **look, label=name)
        risks = [float("nan") if p.selective_risk is None else p.selective_risk for p in points]
        risk.step(thresholds, risks, line, **look)
    coverage.set(ylabel="coverage", xlim=(0, 1), ylim=(0, 1.02))
    _legend(coverage)
    risk.set(ylabel="selective risk", xlabel="threshold of the confidence")
    risk.set_ylim(bottom=0)
    return _to_svg(figure, "Coverage and selective risk over the threshold")


@_styled
def draw_shares(quantity: str, live: Sequence[float], reference: Sequence[float] | None) -> str:
    """Draw the share of answers in each bin, live and on the calibration split."""
    figure = _new_figure(2.8)
    axes = figure.subplots()
    _fill_bins(axes, live, LIVE, "live")
    if reference is not None:
        axes.stairs(reference, _EDGES, color=REFERENCE, linestyle="--", linewidth=1.5, label="calibration split")
    axes.set(xlabel=quantity, ylabel="share of answers", xlim=(0, 1))
    _legend(axes)
    return _to_svg(figure, f"Share of answers by {quantity}")


@_styled
def draw_label_share(bins: Sequence[CalibrationBin]) -> str:
    """Draw the share of answers in each bin that have a label and are scored."""
    figure = _new_figure(2.8)
    axes = figure.subplots()
    _fill_bins(axes, [one.labelled / one.predictions if one.predictions else 0.0 for one in bins], LIVE, "")
    axes.set(xlabel="confidence", ylabel="share scored", xlim=(0, 1), ylim=(0, 1))
    return _to_svg(figure, "Share of scored answers by confidence")


@_styled
def draw_days(days: Sequence[DaysView]) -> str:
    """Draw accuracy, mean confidence, and calibration error with its interval, by day of the prediction."""
    figure = _new_figure(4.6)
    means, error = figure.subplots(2, 1, sharex=True)
    x = range(len(days))
    accuracy, confidence = [day.accuracy for day in days], [day.mean_confidence for day in days]
    means.plot(x, accuracy, f"{LIVE_MARKER}-", color=LIVE, markersize=4, label="accuracy")
    means.plot(x, confidence, f"{REFERENCE_MARKER}--", color=REFERENCE, markersize=4, label="mean confidence")
    means.set(ylabel="mean")
    means.margins(y=0.15)
    _legend(means)
    intervals = [day.rms_calibration_error_interval for day in days]
    error.vlines(x, [one.low for one in intervals], [one.high for one in intervals], color=LIVE, linewidth=1)
    found = [day.rms_calibration_error for day in days]
    error.plot(x, found, LIVE_MARKER, color=LIVE, markersize=4, label="RMS calibration error, 95 % interval")
    error.set(ylabel="error")
    error.set_ylim(bottom=0)
    _legend(error)
    shown = range(0, len(days), max(1, math.ceil(len(days) / DAY_TICKS)))
    error.set_xticks(list(shown), [f"{days[index].first_day:%d %b}" for index in shown])
    error.set_xlim(-0.5, len(days) - 0.5)
    return _to_svg(figure, "Calibration by day of the prediction")


def _new_figure(height: float) -> Figure:
    """Create a figure as wide as a column; `height` is in inches.

    Its margins are fixed: matplotlib's layout engines draw everything twice.
    """
    figure = Figure(figsize=(_WIDTH, height))
    figure.subplots_adjust(0.8 / _WIDTH, 0.52 / height, 1 - 0.15 / _WIDTH, 1 - 0.3 / height, hspace=0.3)
    return figure


def _legend(axes: Axes) -> None:
    """Place the legend above the axes, where it covers no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)


def _fill_bins(axes: Axes, heights: Sequence[float], color: str, label: str) -> None:
    axes.bar(
        _EDGES[:-1], heights, width=1 / BINS, align="edge", color=color, edgecolor="white", linewidth=0.4, label=label
    )


def _to_svg(figure: Figure, description: str) -> str:
    """Return the SVG element with a scalable width and without ids that could clash with those of other plots."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = file.getvalue()
    svg = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :])
    return re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>',
        rf'<svg \1 role="img" aria-label="{html.escape(description)}">',
        svg,
        count=1,
    )
