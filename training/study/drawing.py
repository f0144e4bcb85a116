"""Charts as pictures: one SVG per panel for HTML, one PNG per chart for Markdown."""

from __future__ import annotations

import io
import math
import re
from html import escape
from typing import TYPE_CHECKING

from uq4ct.training.evaluation.axes import INK, MUTED, load_matplotlib, new_figure, style_axes
from uq4ct.training.study.document import Chart, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = (3.4, 3.1)  # fits a phone's width with a readable font of 9 points
PNG_COLUMNS = 3
# The page replaces these colours in light and dark mode; matplotlib writes them exactly as given here.
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)"}


def panel_svg(chart: Chart, panel: Panel) -> str:
    """Return an `<svg>` element in the page's colours; the same panel gives the same text."""
    with load_matplotlib().rc_context({"svg.fonttype": "none", "svg.hashsalt": f"{chart.name} {panel.title}"}):
        figure = new_figure(*PANEL_INCHES)
        figure.patch.set_visible(False)
        _draw(panel, figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    name = escape(f"{chart.title}: {panel.title}", quote=True)
    return re.sub(r' width="[^"]*" height="[^"]*"', f' role="img" aria-label="{name}"', text, count=1)


def chart_png(chart: Chart) -> bytes:
    """Return a PNG with all panels of a chart in a grid, on white."""
    columns = min(PNG_COLUMNS, len(chart.panels))
    rows = math.ceil(len(chart.panels) / columns)
    figure = new_figure(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows, dpi=110)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, chart.panels, strict=False):
        _draw(panel, axes)
    for axes in grid[len(chart.panels) :]:
        axes.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw(panel: Panel, axes: Axes) -> None:
    axes.patch.set_visible(False)
    panel.draw(axes)
    style_axes(axes, panel.title)
