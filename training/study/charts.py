"""The charts of a report: their panels and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from uq4ct.training.study.document import Chart, Panel
from uq4ct.training.study.panels import (
    feu_panel,
    highest_risk,
    histogram_panel,
    measure_height,
    measure_panel,
    pooled_feu,
    reliability_panel,
    risk_coverage_panel,
)
from uq4ct.training.study.results import SplitResults, SplitRun, Variant
from uq4ct.training.study.statistics import MetricName, Spread

DRAWN_CALIBRATIONS = 2  # more lines than that in a panel cannot be told apart; the tables have them all
MEASURES: Mapping[MetricName, tuple[str, str]] = {  # the title of the picture, and what good is
    "accuracy": ("accuracy", "higher is better"),
    "calibration": ("RMS calibration error", "lower is better"),
    "nll": ("NLL in nats", "lower is better"),
    "brier": ("Brier score", "lower is better"),
}

Spreads = Mapping[MetricName, Mapping[Variant, Spread]]


def split_charts(results: SplitResults, spreads: Spreads, baseline: Variant) -> list[Chart]:
    """Return every chart of one split."""
    by_label = _by_label(results)
    first = {label: next(iter(variants.values())) for label, variants in by_label.items()}
    name = f"{results.data_set}-{results.split}"
    charts = [
        _overview(f"{name}-overview", by_label, spreads),
        _reliability(f"{name}-reliability", by_label),
        _risk_coverage(f"{name}-risk-coverage", first, results.variants.get(baseline)),
        _entropy(f"{name}-entropy", first),
        _mutual_information(f"{name}-mutual-information", first),
        _feu(f"{name}-feu", first),
    ]
    return [chart for chart in charts if chart.panels]


def _by_label(results: SplitResults) -> dict[str, dict[str, tuple[SplitRun, ...]]]:
    by_label: dict[str, dict[str, tuple[SplitRun, ...]]] = {}
    for variant, runs in results.variants.items():
        calibrations = by_label.setdefault(variant.label, {})
        if len(calibrations) < DRAWN_CALIBRATIONS:
            calibrations[variant.calibration] = runs
    return by_label


def _overview(name: str, by_label: Mapping[str, Mapping[str, object]], spreads: Spreads) -> Chart:
    calibrations = list(dict.fromkeys(calibration for variants in by_label.values() for calibration in variants))
    labels = list(by_label)
    panels = [
        Panel(title, measure_panel(spreads[metric], labels, calibrations, good), measure_height(labels))
        for metric, (title, good) in MEASURES.items()
    ]
    return Chart(
        name,
        "All methods at a glance",
        tuple(panels),
        "One row per method. The mark is the mean over seeds, the bar its 95 % interval over questions. "
        "Colours and marks are the first two calibrations of the study. Overlapping intervals do not show that two "
        "methods are equal: the paired table compares them question by question.",
    )


def _reliability(name: str, by_label: Mapping[str, Mapping[str, tuple[SplitRun, ...]]]) -> Chart:
    return Chart(
        name,
        "Does the confidence match the accuracy?",
        tuple(Panel(label, reliability_panel(variants)) for label, variants in by_label.items()),
        "Answers are grouped by their confidence (15 equal bins, all seeds together), under the first two "
        "calibrations of the study. Good: points on the diagonal, where 70 % of the answers given with confidence 0.7 "
        "are right. Points below it show overconfidence. 95 % of the points of a perfectly calibrated model would fall "
        "in the grey band by chance. Large points and tall bars at the bottom mark bins with many answers.",
    )


def _risk_coverage(
    name: str, first: Mapping[str, tuple[SplitRun, ...]], baseline: tuple[SplitRun, ...] | None
) -> Chart:
    highest = 1.15 * max([highest_risk(runs) for runs in first.values()] + [0.05])
    return Chart(
        name,
        "Does abstaining help?",
        tuple(Panel(label, risk_coverage_panel(runs, baseline, min(1.0, highest))) for label, runs in first.items()),
        "Only the most confident share of the questions is answered (left: few, right: all); the line is the error "
        "rate among them. Good: a low line that falls steeply towards the left, because the wrong answers are then the "
        "least confident ones. Where few questions are answered, the line jumps by chance.",
    )


def _entropy(name: str, first: Mapping[str, tuple[SplitRun, ...]]) -> Chart:
    return Chart(
        name,
        "Entropy of right and wrong answers",
        _histograms({label: [run.entropy for run in runs] for label, runs in first.items()}, first, "entropy in nats"),
        "Entropy is the total uncertainty of an answer, 0 = sure, log(number of options) = no idea. Each histogram "
        "adds up to 1; dotted lines with a mark at the top are means. Good: right answers on the left, wrong ones on "
        "the right.",
    )


def _mutual_information(name: str, first: Mapping[str, tuple[SplitRun, ...]]) -> Chart:
    sampled = {
        label: [run.scored.epistemic for run in runs if run.scored.epistemic is not None]
        for label, runs in first.items()
    }
    values = {label: found for label, found in sampled.items() if found}
    return Chart(
        name,
        "Mutual information of right and wrong answers",
        _histograms(values, first, "mutual information in nats", own_scales=True),
        "Mutual information is how far the samples of a method (members, masks, draws of weights) disagree, 0 = not at "
        "all: the part of the uncertainty that more training data could remove. Single-pass methods have none. Each "
        "histogram adds up to 1 and has its own scale, because methods differ by factors of a thousand; dotted lines "
        "with a mark at the top are means. Good: higher values for wrong answers than for right ones.",
    )


def _histograms(
    values: Mapping[str, Sequence[torch.Tensor]],
    first: Mapping[str, tuple[SplitRun, ...]],
    axis: str,
    *,
    own_scales: bool = False,
) -> tuple[Panel, ...]:
    """Return a panel per label, all on one scale for comparison, or each on its own scale."""
    pooled = {label: torch.cat(list(found)) for label, found in values.items()}
    highest = {label: max(found.max().item(), 1e-6) for label, found in pooled.items()}
    if not own_scales:
        highest = dict.fromkeys(highest, max(highest.values(), default=0))
    correct = {label: torch.cat([run.scored.correct for run in first[label]]) for label in pooled}
    return tuple(
        Panel(label, histogram_panel(found, correct[label], highest[label], axis)) for label, found in pooled.items()
    )


def _feu(name: str, first: Mapping[str, tuple[SplitRun, ...]]) -> Chart:
    routed = {label: runs for label, runs in first.items() if len(pooled_feu(runs)[0])}
    return Chart(
        name,
        "Are the routers sure where the model is right?",
        tuple(Panel(label, feu_panel(runs)) for label, runs in routed.items()),
        "FEU is the share of the routers' weight that the chosen experts receive. Answers are grouped by FEU, with "
        "equally many per point; bars are 95 % intervals. Good: points that rise from left to right (FEU separates "
        "right answers from wrong ones) and are near the diagonal (its value is an accuracy).",
    )
