"""Draw curves of cost over size, all axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.benchmarks.growth.curves import Curve

_COLUMNS = 4
_INCHES = 2.6


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Write one small plot for each curve, with its aim as a dashed line, as one PNG."""
    rows = math.ceil(len(curves) / _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _INCHES * 1.3, rows * _INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    for place, curve in enumerate(curves, 1):
        axes = figure.add_subplot(rows, _COLUMNS, place)
        sizes, values = zip(*curve.points, strict=True)
        axes.loglog(sizes, values, marker="o", markersize=3, linewidth=1)
        aim = curve.most if curve.most is not None else curve.least
        if aim is not None:
            axes.axhline(aim, linestyle="--", linewidth=0.8, color="0.4")
        axes.set_title(f"{curve.row}: {curve.name}\nslope {curve.slope:.2f}", fontsize=7)
        axes.set_xlabel(curve.size, fontsize=6)
        axes.tick_params(labelsize=6, which="both")
        axes.set_ylim(min(values) / 3, max(values) * 3)
    figure.savefig(path, dpi=110)
