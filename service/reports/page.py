"""A calibration report as one self-contained HTML file for screens, phones and print."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from html import escape

from uq4ct.service.reports.days import LEAST_LABELS, DaysView
from uq4ct.service.reports.figures import draw_days, draw_label_share, draw_reliability, draw_selective, draw_shares
from uq4ct.service.schemas.calibration import CalibrationReport, CohortView, LabelledView, Range

FEW_LABELS = 200  # below this, the noise floor is as large as the calibration errors of interest

_STYLE = """
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: #1b1f24; background: #fff;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; border-top: 2px solid #d5dae1; padding-top: 1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; overflow-wrap: normal; }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #e4e8ed; vertical-align: top; }
th { font-weight: 500; } thead th { vertical-align: bottom; } .wide { overflow-x: auto; margin: 1rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem 2rem; }
figure { margin: 0; break-inside: avoid; } figure svg { width: 100%; height: auto; max-width: 30rem; }
figcaption { font-size: .875rem; color: #414b58; max-width: 30rem; }
.note { border-left: 4px solid #b8860b; padding: .25rem .75rem; background: #fdf8ec; }
@page { size: A4 portrait; margin: 14mm 12mm 16mm; @bottom-right { content: counter(page) " / " counter(pages); } }
@media print {
  :root { font-size: 9.5pt; } body { max-width: none; padding: 0; }
  section { break-before: page; } tr, .note { break-inside: avoid; }
  h1, h2, h2 + p, caption { break-after: avoid; }
  .wide { overflow: visible; } table { width: 100%; } .plots { grid-template-columns: 1fr 1fr; gap: 4mm; }
}
"""


def write_page(report: CalibrationReport, days: Sequence[DaysView]) -> str:
    """Return the whole page; `days` contains the days of all versions in the report."""
    cohorts = [_cohort(cohort, [day for day in days if day.model == cohort.model]) for cohort in report.models]
    title = "Calibration report"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1><p>Predictions made from {_minute(report.since)} to {_minute(report.until)}, "
        "regardless of when their labels arrived. "
        f"At most the newest {report.counted_limit:,} predictions are counted, and the newest "
        f"{report.scored_limit:,} labelled predictions are scored.</p>"
        f"{_overview(report.models)}{''.join(cohorts)}</main></body></html>\n"
    )


def _overview(cohorts: Sequence[CohortView]) -> str:
    rows = [
        (
            cohort.model,
            f"{cohort.predictions:,}",
            _percent(cohort.label_share),
            "-" if cohort.labelled is None else _percent(cohort.labelled.accuracy),
            _percent(cohort.mean_confidence),
            "-" if cohort.labelled is None else f"{cohort.labelled.ece:.3f}",
            "-" if cohort.labelled is None else f"{cohort.labelled.ece_noise_floor.p95:.3f}",
            _verdict(cohort),
        )
        for cohort in cohorts
    ]
    heads = ("version", "predictions", "labelled", "accuracy", "mean confidence", "ECE", "floor, 95th perc.", "verdict")
    return _table("Versions that answered", heads, rows)


def _cohort(cohort: CohortView, days: Sequence[DaysView]) -> str:
    labelled = cohort.labelled
    parts = [f"<h2>{escape(cohort.model)}</h2>", f"<p><strong>Verdict: {_verdict(cohort)}.</strong></p>"]
    if labelled is None and cohort.label_share > 0:
        parts.append(
            '<p class="note">The newest labels of the window, which are scored, all belong to other versions: '
            "request a report of this version alone.</p>"
        )
    elif labelled is None:
        parts.append('<p class="note">No labels yet, so the calibration is unknown. Send feedback.</p>')
    else:
        parts.append(f"<p>{_explain_error(labelled)}</p>")
        if labelled.questions < FEW_LABELS:
            parts.append(
                f'<p class="note">Only {labelled.questions} labels: too few to tell a calibration error from noise. '
                f"Until there are {FEW_LABELS}, rely on the intervals.</p>"
            )
    parts += [_scores(cohort), _tests(cohort)]
    parts.append(f'<div class="plots">{"".join(_plots(cohort, days))}</div>')
    return f"<section>{''.join(parts)}</section>"


def _explain_error(labelled: LabelledView) -> str:
    """Interpret the calibration error in one sentence."""
    floor, gap = labelled.ece_noise_floor, labelled.signed_gap
    if labelled.ece <= floor.p95:
        return (
            f"The expected calibration error, {labelled.ece:.3f}, is within what a perfectly calibrated model with "
            f"these confidences could show by chance (mean {floor.mean:.3f}, 95th percentile {floor.p95:.3f})."
        )
    direction = "above" if gap > 0 else "below"
    return (
        f"The expected calibration error, {labelled.ece:.3f}, is above what a perfectly calibrated model with these "
        f"confidences shows in 95 of 100 cases ({floor.p95:.3f}); on average the confidence is "
        f"{_points(abs(gap))} {direction} the accuracy."
    )


def _scores(cohort: CohortView) -> str:
    reference, labelled, delay = cohort.reference, cohort.labelled, cohort.label_delay
    rows = [
        ("predictions", f"{cohort.predictions:,}", ""),
        ("expected accuracy (mean confidence of all)", _percent(cohort.mean_confidence), ""),
        ("answered without abstention", _percent(cohort.coverage), _answered_before(cohort)),
        ("with a label", _percent(cohort.label_share), ""),
    ]
    if delay is not None:
        took = f"{_duration(delay.median_seconds)}; 90 % within {_duration(delay.p90_seconds)}"
        rows.append(("label delay, median", took, ""))
    if labelled is not None:
        rows += [
            ("labels scored", f"{labelled.questions:,}", f"{reference.questions:,}" if reference else ""),
            ("accuracy", _percent(labelled.accuracy), _percent(reference.accuracy) if reference else ""),
            ("signed gap (positive = overconfident)", f"{labelled.signed_gap:+.3f}, z {_z(labelled.gap_z)}", ""),
            (
                "RMS calibration error, 95 % interval",
                f"{labelled.rms_calibration_error:.3f} {_between(labelled.rms_calibration_error_interval)}",
                "",
            ),
            ("ECE", f"{labelled.ece:.3f}", f"{reference.ece:.3f}" if reference else ""),
            (
                "noise floor of the ECE: mean, 95th percentile",
                f"{labelled.ece_noise_floor.mean:.3f}, {labelled.ece_noise_floor.p95:.3f}",
                "",
            ),
            ("Spiegelhalter's Z", _z(labelled.spiegelhalter_z), ""),
            ("top-label Brier score", f"{labelled.top_label_brier:.3f}", ""),
            ("selective risk", "-" if labelled.selective_risk is None else _percent(labelled.selective_risk), ""),
        ]
    return _table("Numbers", ("quantity", "live", "before serving"), rows)


def _tests(cohort: CohortView) -> str:
    if not cohort.sequential:
        return "<p>The sequential tests have not counted any labels yet.</p>"
    rows = [
        (
            test.test.replace("_", " "),
            f"alarm since {_minute(test.alarmed_at)}" if test.alarmed_at else "quiet",
            f"{test.log_evidence:.2f}",
            f"{test.labels:,}",
            _minute(test.since),
        )
        for test in cohort.sequential
    ]
    heads = ("test", "state", "log evidence", "labels", "since")
    return _table("Sequential tests over the life of the version, valid however often you look", heads, rows)


def _plots(cohort: CohortView, days: Sequence[DaysView]) -> list[str]:
    """Return the plots that have data, calibration first."""
    plots = [] if cohort.labelled is None else [_reliability(cohort.labelled)]
    plots += _abstention(cohort)
    if days:
        plots.append(
            _figure(
                draw_days(days),
                f"By day of the prediction (UTC){_pooled(days)}: a gap between the lines is miscalibration.",
            )
        )
    plots += _traffic(cohort)
    if cohort.labelled is not None:
        plots.append(
            _figure(
                draw_label_share(cohort.labelled.bins),
                "Share of answers whose labels are scored: if the bars differ a lot, the labels are not a "
                "representative sample of the answers.",
            )
        )
    return plots


def _pooled(days: Sequence[DaysView]) -> str:
    """Say that days are pooled, if some are."""
    if all(one.first_day == one.last_day for one in days):
        return ""
    return (
        f"; days are pooled until there are at least {LEAST_LABELS} labels, and each point is at the first of its days"
    )


def _reliability(labelled: LabelledView) -> str:
    return _figure(
        draw_reliability(labelled),
        "Reliability: on the dotted line the accuracy equals the confidence; points below it are overconfident. The "
        "bars count the answers.",
    )


def _abstention(cohort: CohortView) -> list[str]:
    live = None if cohort.labelled is None else cohort.labelled.curve
    before = None if cohort.reference is None else cohort.reference.curve
    if live is None and before is None:
        return []
    text = (
        "Abstention: the share of questions answered, and the share of errors among them, if the model abstained below "
        "the threshold."
    )
    if live is not None and before is not None:
        text += (
            " Where the live risk is above the dashed line, the threshold protects less than on the calibration split."
        )
    return [_figure(draw_selective(live, before), text)]


def _traffic(cohort: CohortView) -> list[str]:
    reference = cohort.reference
    plots = [
        _figure(
            draw_shares("confidence", cohort.confidence_shares, reference.confidence_shares if reference else None),
            "Confidence: if the shape differs from the calibration split, the questions differ, or the model responds "
            "to them differently. This needs no labels and does not show calibration.",
        )
    ]
    if cohort.feu_shares is not None:
        feu = draw_shares("FEU", cohort.feu_shares, reference.feu_shares if reference else None)
        plots.append(
            _figure(feu, "FEU, the confidence of the routers: a different shape indicates questions of another kind.")
        )
    return plots


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    title = escape(caption)
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{title}"><table><caption>{title}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _verdict(cohort: CohortView) -> str:
    alarms = ", ".join(test.test.replace("_", " ") for test in cohort.sequential if test.alarm)
    state = cohort.verdict.state.replace("_", " ")
    return f"{state} (alarm: {alarms})" if alarms else state


def _answered_before(cohort: CohortView) -> str:
    abstention = None if cohort.reference is None else cohort.reference.abstention
    return "" if abstention is None or abstention.share is None else f"{_percent(1 - abstention.share)} (test split)"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _points(share: float) -> str:
    return f"{share * 100:.1f} points"


def _z(value: float | None) -> str:
    return "none" if value is None else f"{value:+.2f}"


def _between(interval: Range) -> str:
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def _minute(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.1f} s"
