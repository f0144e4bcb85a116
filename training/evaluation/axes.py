"""The style of training's pictures, and matplotlib, which is imported only when something is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from uq4ct.model_store.environment import hidden_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class SeriesStyle:
    """The colour, marker and line of a series."""

    colour: str
    marker: str
    line: str


INK, MUTED = "#1b1f24", "#76808e"
# Dark blue and light orange: colour-blind readers and grey prints tell them apart by their lightness.
SERIES = (SeriesStyle("#0b3c6f", "o", "-"), SeriesStyle("#d9730d", "s", "--"))
REFERENCE_LINE = ":"
SHARE_TICKS = (0, 0.25, 0.5, 0.75, 1)


def load_matplotlib() -> ModuleType:
    """Import matplotlib without MPLBACKEND, which may name a backend that is not installed; pictures need none."""
    with hidden_variable("MPLBACKEND"):
        import matplotlib.figure  # noqa: PLC0415  # slow, and needed only for pictures
    return matplotlib


def new_figure(width: float, height: float, dpi: float | None = None) -> Figure:
    """Return an empty figure of this size in inches; the format in which it is saved decides what draws it."""
    return load_matplotlib().figure.Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def style_axes(axes: Axes, title: str) -> None:
    """Set the title, colours and, below the picture, the legend of axes."""
    axes.set_title(title, fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=9)
    names = axes.get_legend_handles_labels()
    if names[0]:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.5}  # below ticks and label
        axes.legend(*names, **place, ncols=2, fontsize=8, labelcolor=INK, frameon=False)
