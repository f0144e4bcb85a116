"""The results of a study as a document of tables and charts, without interpretation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from uq4ct.model_store.storage.manifest import Scores
from uq4ct.training.evaluation.scores import ScoredAnswers
from uq4ct.training.study.charts import split_charts
from uq4ct.training.study.document import Block, Document, Heading, Paragraph, TableBlock, Terms
from uq4ct.training.study.markdown import write_markdown
from uq4ct.training.study.page import write_page
from uq4ct.training.study.results import Results, SplitResults, SplitRun, Variant, common_seeds
from uq4ct.training.study.rows import FinishedRow
from uq4ct.training.study.statistics import (
    LEVEL,
    METRICS,
    SWAP_DRAWS,
    Difference,
    MetricName,
    Spread,
    auroc_gain,
    holm,
    mean_and_deviation,
    paired_difference,
    spread_over_seeds,
)

HTML_FILE, MARKDOWN_FILE = "report.html", "report.md"
NOTHING = "–"
DECIMALS = 3

# For each ranking score: its AUROC in a run's scores, and its column of the answers; higher = more likely right.
_RANKING_SCORES: dict[str, tuple[Callable[[Scores], float | None], Callable[[ScoredAnswers], Tensor | None]]] = {
    "FEU": (lambda scores: scores.auroc_feu, lambda scored: scored.feu),
    "mutual information": (lambda scores: scores.auroc_epistemic, lambda scored: _turned(scored.epistemic)),
    "the error score": (lambda scores: scores.auroc_error_score, lambda scored: _turned(scored.error_score)),
}

TERMS = {
    "accuracy": "share of the questions answered right",
    "confidence": "the probability that a model gives to the option it chose",
    "ECE": "expected calibration error: how far confidence and accuracy differ on average, over 15 equal bins of "
    "confidence; 0 = never",
    "noise floor": "the ECE that a perfectly calibrated model with the same confidences would show by chance: its mean "
    "and its 95th percentile; an ECE below the latter is not evidence of miscalibration",
    "RMS calibration error": "root mean squared difference of confidence and accuracy over the same bins, without the "
    "part that chance adds; 0 = no more than chance explains",
    "NLL": "negative log-likelihood: minus the log of the right option's probability, in nats per question; 0 is best",
    "Brier": "squared distance between the probabilities and the truth, 0 is best, 2 is worst",
    "AUROC": "the chance that a right answer gets a better score than a wrong one; 0.5 = no better than chance, 1 = "
    "it separates all right answers from all wrong ones",
    "AURC": "area under the risk-coverage curve: the error rate averaged over all shares of answered questions",
    "FEU": "how sure the routers of a mixture of experts are, 1 = fully sure",
    "mutual information": "how far the samples of a method disagree on an answer, 0 = not at all",
    "calibration": "a correction fitted on a separate split after training, e.g. one temperature; nothing is fitted on "
    "the questions reported here",
}


def write_report(results: Results) -> None:
    """Write the report as a page and as Markdown with its figures, into the study's folder."""
    results.folder.mkdir(parents=True, exist_ok=True)
    document = build_report(results)
    write_page(document, results.folder / HTML_FILE)
    write_markdown(document, results.folder / MARKDOWN_FILE)


def build_report(results: Results) -> Document:
    """Return the report of everything finished so far."""
    document: Document = [Heading(1, f"Study {results.study.config.name}"), *_introduction(results)]
    data_set = None
    for split in results.splits():
        if split.data_set != data_set:
            data_set = split.data_set
            document.append(Heading(2, f"Data set {data_set}"))
        document += _split_blocks(split, results)
    document += _cost_blocks(results)
    return document


def _introduction(results: Results) -> Document:
    config = results.study.config
    rows = results.finished.values()
    commits = sorted({row.code_commit or "unknown" for row in rows})
    seeds = ", ".join(map(str, config.seeds))
    blocks: Document = [
        Paragraph(
            f"{len(rows)} of {len(results.study.cells)} rows are finished. Methods: {', '.join(config.methods)}. "
            f"Data sets: {', '.join(config.data_sets)}. Seeds: {seeds}."
        ),
        Paragraph(
            "With several seeds, numbers are mean ± standard deviation over seeds. Brackets are 95 % "
            "intervals over questions: they show the effect of another draw of questions, not of another training "
            "run. The ECE is for comparison with papers; chance alone raises it, so it has a noise floor instead of an "
            "interval."
        ),
        Terms(TERMS),
    ]
    if rows:
        dtypes = ", ".join(sorted({row.dtype for row in rows}))
        blocks.insert(1, Paragraph(f"Base model in {dtypes}; code at commit {', '.join(commits)}."))
    if results.failed:
        rows_failed = tuple((str(key), row.message) for key, row in results.failed.items())
        blocks.append(TableBlock("Failed rows", ("row", "message"), rows_failed, "They are not in the tables below."))
    if results.missing:
        blocks.append(Paragraph(f"Not run yet: {'; '.join(map(str, results.missing))}."))
    return blocks


def _split_blocks(split: SplitResults, results: Results) -> Document:
    config = results.study.config
    baseline = Variant(config.baseline, config.baseline_calibration)
    spreads: dict[MetricName, dict[Variant, Spread]] = {metric: {} for metric in METRICS}
    for metric, by_variant in spreads.items():
        for variant, runs in split.variants.items():
            by_variant[variant] = spread_over_seeds([run.scored for run in runs], metric)
    questions = next(iter(split.variants.values()))[0].scores.questions
    blocks: Document = [
        Heading(3, split.title),
        Paragraph(f"{questions} questions."),
        _calibration_table(split, spreads),
        _ranking_table(split),
    ]
    if baseline in split.variants and len(split.variants) > 1:
        blocks.append(_difference_table(split, baseline))
    return [*blocks, *split_charts(split, spreads, baseline)]


def _calibration_table(split: SplitResults, spreads: dict[MetricName, dict[Variant, Spread]]) -> Block:
    def row(variant: Variant, runs: Sequence[SplitRun]) -> tuple[str, ...]:
        floor = [
            f"{_mean(runs, lambda s: s.ece_noise_floor):.3f}",
            f"{_mean(runs, lambda s: s.ece_noise_floor_p95):.3f}",
        ]
        return (
            str(variant),
            _spread(spreads["accuracy"][variant]),
            _spread(spreads["calibration"][variant]),
            _over_seeds(runs, lambda scores: scores.ece),
            ", ".join(floor),
            _spread(spreads["nll"][variant]),
            _spread(spreads["brier"][variant]),
        )

    return TableBlock(
        "Accuracy and calibration",
        ("method", "accuracy", "RMS calibration error", "ECE", "noise floor (mean, p95)", "NLL (nats)", "Brier"),
        tuple(row(variant, runs) for variant, runs in split.variants.items()),
        "Good: a high accuracy, a low RMS calibration error, an ECE near its noise floor, a low NLL and Brier score.",
    )


def _ranking_table(split: SplitResults) -> Block:
    def row(variant: Variant, runs: Sequence[SplitRun]) -> tuple[str, ...]:
        scored = [run.scored for run in runs]
        return (
            str(variant),
            _over_seeds(runs, lambda scores: scores.auroc_confidence),
            *(_over_seeds(runs, read) + _gain(scored, score) for read, score in _RANKING_SCORES.values()),
            _over_seeds(runs, lambda scores: scores.ece_feu),
            _over_seeds(runs, lambda scores: scores.area_under_risk_coverage),
        )

    return TableBlock(
        "Telling right answers from wrong ones",
        ("method", "AUROC of confidence", *(f"AUROC of {name}" for name in _RANKING_SCORES), "ECE of FEU", "AURC"),
        tuple(row(variant, runs) for variant, runs in split.variants.items()),
        "Good: an AUROC far above 0.5, a low AURC. A dash means that the method has no such score. Mutual information "
        "and the error score are negated, so that higher is better for every score. Below each: its gain over the "
        f"confidence of the same answers, with its {LEVEL:.0%} paired bootstrap interval.",
    )


def _gain(scored: Sequence[ScoredAnswers], score: Callable[[ScoredAnswers], Tensor | None]) -> str:
    columns = [score(run) for run in scored]
    present = [column for column in columns if column is not None]
    if len(present) < len(columns):
        return ""
    found = auroc_gain(scored, present)
    if found is None:
        return ""
    value, interval = found
    return f"\n{value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _difference_table(split: SplitResults, baseline: Variant) -> Block:
    compared = {
        variant: common_seeds(runs, split.variants[baseline])
        for variant, runs in split.variants.items()
        if variant != baseline
    }
    compared = {variant: pair for variant, pair in compared.items() if pair[0]}
    columns = []
    for metric in METRICS:
        found = [paired_difference(ours, theirs, metric) for ours, theirs in compared.values()]
        adjusted = holm([difference.p for difference in found])
        columns.append([_difference(*pair) for pair in zip(found, adjusted, strict=True)])
    cells = zip(map(str, compared), *columns, strict=True)
    return TableBlock(
        f"Differences to {baseline}, on the same questions",
        ("method", "accuracy", "squared calibration error", "NLL", "Brier"),
        tuple(cells),
        f"Each method minus {baseline}; above 0 is better for accuracy, below 0 for the others. Brackets: "
        f"{LEVEL:.0%} paired interval. p: how often a difference of at least this size appears when the two "
        f"methods' answers are swapped at random, question by question ({SWAP_DRAWS:,} times); for the squared "
        "calibration error, which such a swap does not suit, from its standard error. All after Holm's correction for "
        f"the {len(compared)} comparisons in the column; values below 0.05 have a star. A p near 1 does not prove "
        "equality.",
    )


def _cost_blocks(results: Results) -> Document:
    config = results.study.config
    if not results.finished:
        return []
    rows = []
    for data_set in config.data_sets:
        by_label: dict[str, list[FinishedRow]] = {}
        for key, row in results.finished.items():
            if key.data_set == data_set:
                by_label.setdefault(key.label, []).append(row)
        base = by_label.get(config.baseline)
        for label in config.methods:
            if label in by_label:
                rows.append(_cost_row(data_set, label, by_label[label], base))
    columns = ("data set", "method", f"training / {config.baseline}", "training (s)", "passes", "parameters", "ms")
    return [
        Heading(2, "Cost"),
        TableBlock(
            "What each method costs",
            columns,
            tuple(rows),
            "Training: seconds in optimizer steps and fits, for all runs that a method needs, including those that it "
            "shares with others; the ratio is to the baseline. Passes: forward passes through the base model per "
            "answer. Parameters: trained parameters of all runs together. ms: time to score one question in batches, "
            "on the machine of the study. Good: a ratio near 1, one pass, few parameters, few milliseconds.",
        ),
    ]


def _cost_row(
    data_set: str, label: str, rows: Sequence[FinishedRow], base: Sequence[FinishedRow] | None
) -> tuple[str, ...]:
    seconds, _ = mean_and_deviation([row.train_seconds for row in rows])
    reference = mean_and_deviation([row.train_seconds for row in base])[0] if base else 0.0
    scoring, _ = mean_and_deviation([row.scoring_seconds for row in rows])
    return (
        data_set,
        label,
        f"{seconds / reference:.2f}" if reference else NOTHING,
        f"{seconds:.0f}",
        str(rows[0].passes),
        f"{rows[0].trained_parameters:,}",
        f"{1000 * scoring:.0f}",
    )


def _turned(score: Tensor | None) -> Tensor | None:
    return None if score is None else -score


def _spread(spread: Spread) -> str:
    deviation = "" if spread.deviation is None else f" ± {spread.deviation:.3f}"
    return f"{spread.mean:.3f}{deviation}\n[{spread.interval.low:.3f}, {spread.interval.high:.3f}]"


def _difference(difference: Difference, adjusted: float) -> str:
    star = "*" if adjusted < 1 - LEVEL else ""
    low, high = difference.interval.low, difference.interval.high
    p = f"p = {adjusted:.3f}" if adjusted >= 0.001 else "p < 0.001"
    return f"{difference.value:+.3f}\n[{low:+.3f}, {high:+.3f}]\n{p}{star}"


def _mean(runs: Sequence[SplitRun], read: Callable[[Scores], float]) -> float:
    return mean_and_deviation([read(run.scores) for run in runs])[0]


def _over_seeds(runs: Sequence[SplitRun], read: Callable[[Scores], float | None], decimals: int = DECIMALS) -> str:
    values = [value for value in (read(run.scores) for run in runs) if value is not None]
    if not values:
        return NOTHING
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.{decimals}f}" + ("" if deviation is None else f" ± {deviation:.{decimals}f}")
