"""Reliability diagrams: accuracy against confidence, for a single model and for the panels of a study."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from uq4ct.model_store.uncertainty.calibration_error import expected_calibration_error, noise_floor, reliability_bins
from uq4ct.training.evaluation.axes import MUTED, REFERENCE_LINE, SERIES, SHARE_TICKS, new_figure, style_axes
from uq4ct.training.evaluation.scores import BINS, ScoredAnswers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_reliability(axes: Axes, curves: Mapping[str, Sequence[ScoredAnswers]]) -> None:
    """Draw accuracy against confidence in equal bins: one curve per name, over all its answers together.

    The first curve has the 95 % band of a calibrated model with these confidences (normal approximation), and bars for
    the number of answers in each bin. The size of a point grows with the number of answers in its bin.
    """
    axes.plot([0, 1], [0, 1], REFERENCE_LINE, color=MUTED, linewidth=1.2)
    for index, (name, scored) in enumerate(curves.items()):
        style = SERIES[index]
        confidence, accuracy, count = _binned(scored)
        size = count / count.max()
        if index == 0:
            spread = 1.96 * np.sqrt(confidence * (1 - confidence) / count)
            low, high = np.clip(confidence - spread, 0, 1), np.clip(confidence + spread, 0, 1)
            axes.fill_between(confidence, low, high, color=MUTED, alpha=0.25, linewidth=0)
            axes.bar(confidence, 0.2 * size, width=0.04, color=style.colour, alpha=0.3)
        axes.plot(confidence, accuracy, style.line, color=style.colour, linewidth=1)
        axes.scatter(confidence, accuracy, 4 + 45 * size, marker=style.marker, color=style.colour, clip_on=False)
        axes.plot([], [], style.line + style.marker, color=style.colour, linewidth=1, markersize=5, label=name)
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.set(xticks=SHARE_TICKS, yticks=SHARE_TICKS)


def reliability_png(scored: ScoredAnswers, title: str) -> bytes:
    """Return a PNG of one model's reliability diagram; the title has its ECE, noise floor and number of questions."""
    figure = new_figure(5, 5, dpi=150)
    axes = figure.subplots()
    draw_reliability(axes, {"this model (band: 95 % of a calibrated model)": [scored]})
    ece = expected_calibration_error(scored.confidence, scored.correct, BINS)
    floor = noise_floor(scored.confidence, BINS).mean
    style_axes(axes, f"{title}\nECE {ece:.3f}, noise floor {floor:.3f}, {len(scored.correct)} questions")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _binned(scored: Sequence[ScoredAnswers]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, accuracy and number of answers of each bin that is not empty."""
    confidence = torch.cat([one.confidence for one in scored])
    bins = reliability_bins(confidence, torch.cat([one.correct for one in scored]), BINS)
    filled = (bins.count > 0).numpy()
    count = bins.count.numpy()[filled]
    return bins.confidence_sum.numpy()[filled] / count, bins.correct_sum.numpy()[filled] / count, count
