"""Texts of drawn figures that cannot be read, because they touch each other or leave the picture."""

from __future__ import annotations

import itertools

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

GAP, EDGE = 2.0, 1.0  # points between neighbours, and to the edge: a browser's font may be a little wider


def touching_ticks(figure: Figure) -> list[tuple[str, str]]:
    """Return the pairs of tick labels of one axes that are less than two points apart."""
    figure.draw_without_rendering()
    points = figure.dpi / 72
    pairs = [pair for axes in figure.axes for pair in itertools.combinations(_tick_labels(axes), 2)]
    return [
        (one.get_text(), other.get_text())
        for one, other in pairs
        if one.get_window_extent().padded(GAP / 2 * points).overlaps(other.get_window_extent().padded(GAP / 2 * points))
    ]


def cut_texts(figure: Figure) -> list[str]:
    """Return the titles, labels, tick labels and legends that are not whole in the figure, a point from its edge."""
    figure.draw_without_rendering()
    frame = figure.bbox.padded(-EDGE * figure.dpi / 72)
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible()]
    shown = {text: text.get_window_extent() for text in texts if text.get_text()}
    hidden = {label for axes in figure.axes for label in _outside_limits(axes)}
    return [
        text.get_text()
        for text, box in shown.items()
        if text not in hidden and not (frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1))
    ]


def _tick_labels(axes: Axes) -> list[Text]:
    if not axes.axison:
        return []
    hidden = _outside_limits(axes)
    labels = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    return [label for label in labels if label.get_visible() and label.get_text() and label not in hidden]


def _outside_limits(axes: Axes) -> set[Text]:
    """Return the labels of ticks beyond the limits, which are not drawn."""
    outside = set[Text]()
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        low, high = sorted(limits)
        slack = 1e-9 * (high - low)
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low - slack <= tick.get_loc() <= high + slack:
                outside |= {tick.label1, tick.label2}
    return outside
