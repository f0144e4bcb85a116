"""Charts as pictures: one SVG per panel for HTML, one PNG per chart for Markdown."""

from __future__ import annotations

import io
import math
import re
from html import escape
from typing import TYPE_CHECKING

from uq4ct.training.evaluation.axes import load_matplotlib, new_figure, style_axes
from uq4ct.training.study.document import Chart, Panel
from uq4ct.training.study.style import DRAWN_COLOURS, LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH = 3.4  # inches: fits a phone's width with a readable font of 9 points
PNG_COLUMNS = 3


def panel_svg(chart: Chart, panel: Panel) -> str:
    """Return an `<svg>` element in the page's colours; the same panel gives the same text."""
    with load_matplotlib().rc_context({"svg.fonttype": "none", "svg.hashsalt": f"{chart.name} {panel.title}"}):
        file = io.StringIO()
        panel_figure(panel).savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for name in DRAWN_COLOURS:  # the page replaces them in its schemes; matplotlib writes them as given
        text = text.replace(LIGHT[name], f"var(--{name})")
    name = escape(f"{chart.title}: {panel.title}", quote=True)
    return re.sub(r' width="[^"]*" height="[^"]*"', f' role="img" aria-label="{name}"', text, count=1)


def panel_figure(panel: Panel) -> Figure:
    """Return a figure with one panel, without a background."""
    figure = new_figure(PANEL_WIDTH, panel.height)
    figure.patch.set_visible(False)
    _draw(panel, figure.subplots())
    return figure


def chart_png(chart: Chart) -> bytes:
    """Return a PNG with all panels of a chart in a grid, on white."""
    file = io.BytesIO()
    chart_figure(chart).savefig(file, format="png")
    return file.getvalue()


def chart_figure(chart: Chart) -> Figure:
    """Return a figure with all panels of a chart in a grid."""
    columns = min(PNG_COLUMNS, len(chart.panels))
    rows = math.ceil(len(chart.panels) / columns)
    height = max(panel.height for panel in chart.panels)
    figure = new_figure(PANEL_WIDTH * columns, height * rows, dpi=110)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, chart.panels, strict=False):
        _draw(panel, axes)
    for axes in grid[len(chart.panels) :]:
        axes.set_axis_off()
    return figure


def _draw(panel: Panel, axes: Axes) -> None:
    axes.patch.set_visible(False)
    panel.draw(axes)
    style_axes(axes, panel.title)
