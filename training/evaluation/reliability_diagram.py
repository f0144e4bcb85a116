"""Pictures of calibration."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure

from uq4ct.model_store.uncertainty.calibration_error import expected_calibration_error, noise_floor, reliability_bins
from uq4ct.training.evaluation.scores import BINS, ScoredAnswers

INK, BLUE, GREY = "#1b1f24", "#2563a8", "#9aa4b1"


def reliability_diagram(scored: ScoredAnswers, title: str) -> bytes:
    """A PNG: accuracy against confidence in each bin with its 95 % binomial band, and how many answers lie there.

    The band is what a calibrated model of these confidences would show (normal approximation).
    """
    bins = reliability_bins(scored.confidence, scored.correct, BINS)
    counts = bins.count.numpy()
    filled = counts > 0
    confidence = bins.confidence_sum.numpy()[filled] / counts[filled]
    accuracy = bins.correct_sum.numpy()[filled] / counts[filled]
    spread = 1.96 * np.sqrt(confidence * (1 - confidence) / counts[filled])
    figure = Figure(figsize=(5, 6), dpi=150, layout="constrained")
    diagram, histogram = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    diagram.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="perfectly calibrated")
    low, high = np.clip(confidence - spread, 0, 1), np.clip(confidence + spread, 0, 1)
    diagram.fill_between(confidence, low, high, color=GREY, alpha=0.25, linewidth=0, label="95 % of a calibrated model")
    diagram.plot(confidence, accuracy, "o-", color=BLUE, markersize=5, clip_on=False, label="this model")
    ece = expected_calibration_error(scored.confidence, scored.correct, BINS)
    floor = noise_floor(scored.confidence, BINS).mean
    diagram.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    diagram.set_title(f"{title}\nECE {ece:.3f}, noise floor {floor:.3f}, {len(scored.correct)} questions", fontsize=10)
    diagram.legend(frameon=False, fontsize=8, loc="upper left")
    edges = np.linspace(0, 1, BINS + 1)
    histogram.bar(edges[:-1], counts, width=1 / BINS, align="edge", color=BLUE, alpha=0.8)
    histogram.set(xlabel="confidence", ylabel="answers")
    for axes in (diagram, histogram):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
