"""The charts of a report: which panels stand side by side, and what a reader is told about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from uq4ct.training.study.document import Chart, Panel
from uq4ct.training.study.panels import (
    feu_panel,
    highest_risk,
    histogram_panel,
    measure_panel,
    pooled_feu,
    reliability_panel,
    risk_coverage_panel,
)
from uq4ct.training.study.results import SplitResults, SplitRun, Variant
from uq4ct.training.study.statistics import MetricName, Spread

DRAWN_CALIBRATIONS = 2  # more lines than that in a panel cannot be told apart; the tables have them all
MEASURES: Mapping[MetricName, str] = {
    "accuracy": "accuracy (higher is better)",
    "ece": "ECE (lower is better)",
    "nll": "NLL in nats (lower is better)",
    "brier": "Brier score (lower is better)",
}

Spreads = Mapping[MetricName, Mapping[Variant, Spread]]


def split_charts(results: SplitResults, spreads: Spreads, baseline: Variant) -> list[Chart]:
    """Every chart of one split."""
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
    panels = [
        Panel(axis.partition(" (")[0], measure_panel(spreads[metric], list(by_label), calibrations, axis))
        for metric, axis in MEASURES.items()
    ]
    return Chart(
        name,
        "All methods at a glance",
        tuple(panels),
        "One row a method; the dot is the mean over seeds, the bar its 95 % bootstrap interval over questions; colours "
        "are calibrations, the first two of the study. Intervals that overlap do not mean that "
        "two methods are alike: the paired table compares them question by question. The ECE of even a perfect model "
        "is above 0: its noise floor is in the table.",
    )


def _reliability(name: str, by_label: Mapping[str, Mapping[str, tuple[SplitRun, ...]]]) -> Chart:
    return Chart(
        name,
        "Is the confidence true?",
        tuple(Panel(label, reliability_panel(variants)) for label, variants in by_label.items()),
        "Answers are grouped by their confidence (15 equal bins, all seeds together), under the first two "
        "calibrations of the study. Good: points on the diagonal, so "
        "that of the answers given with confidence 0.7, 70 % are right. Points below it: overconfident. The grey band "
        "is where 95 % of the points of a perfectly calibrated model would fall by chance; large points and "
        "tall bars at the bottom stand for many answers.",
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
        "rate among those. Good: a line that is low and falls steeply towards the left, since the wrong answers are "
        "then the least confident ones. Where few are answered it jumps by chance.",
    )


def _entropy(name: str, first: Mapping[str, tuple[SplitRun, ...]]) -> Chart:
    return Chart(
        name,
        "Entropy of right and wrong answers",
        _histograms({label: [run.entropy for run in runs] for label, runs in first.items()}, first, "entropy in nats"),
        "Entropy is the whole uncertainty of an answer, 0 = sure, log(number of options) = no idea. Each histogram "
        "adds up to 1; dashed lines are means. Good: right answers at the left, wrong ones at the right.",
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
        "all: the part of the uncertainty that more training data could remove. Methods of a single pass have none. "
        "Each histogram adds up to 1 and has a scale of its own, since methods differ by factors of a thousand; dashed "
        "lines are means. Good: wrong answers further right than right ones.",
    )


def _histograms(
    values: Mapping[str, Sequence[torch.Tensor]],
    first: Mapping[str, tuple[SplitRun, ...]],
    axis: str,
    *,
    own_scales: bool = False,
) -> tuple[Panel, ...]:
    """A panel a label, all on one scale so that they can be compared, or each on its own."""
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
        "Do the routers know what the model knows?",
        tuple(Panel(label, feu_panel(runs)) for label, runs in routed.items()),
        "FEU is the share of their weight that the routers give to the experts they choose. Answers are grouped by "
        "FEU, equally many in each point; bars are 95 % intervals. Good: points that rise from left to right, so that "
        "FEU tells right from wrong, and lie near the diagonal, so that its value is an accuracy.",
    )
