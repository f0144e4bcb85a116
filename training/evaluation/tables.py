"""Scores as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from uq4ct.model_store.decisions import Decisions
from uq4ct.model_store.storage.manifest import Interval as StoredInterval
from uq4ct.model_store.storage.manifest import Scores
from uq4ct.model_store.uncertainty.intervals import Interval


def score_table(columns: Mapping[str, Scores], title: str) -> Table:
    """Return a table with one column per set of scores; brackets are 95 % intervals."""
    table = Table(title=title, title_justify="left")
    table.add_column("score")
    for name in columns:
        table.add_column(name, justify="right")
    for label, show in _ROWS.items():
        table.add_row(label, *(show(scores) for scores in columns.values()))
    return table


def difference_table(differences: Mapping[str, tuple[float, Interval]], title: str) -> Table:
    """Return a table of paired differences that says which intervals exclude 0."""
    table = Table(title=title, title_justify="left")
    table.add_column("difference")
    table.add_column("value and 95 % interval", justify="right")
    table.add_column("excludes 0")
    for name, (value, interval) in differences.items():
        shown = f"{value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
        table.add_row(name, shown, "yes" if interval.low > 0 or interval.high < 0 else "no")
    return table


def decision_table(decisions: Decisions) -> Table:
    """Return a table of abstention and prediction sets: as promised, and on the test split."""
    table = Table(title="decisions, fitted on the guarantee split", title_justify="left")
    for column in ("decision", "promised", "on the test split"):
        table.add_column(column)
    tested, sets, abstention = decisions.tested, decisions.sets, decisions.abstention
    if sets is not None and tested is not None:
        found = f"{tested.set_coverage:.3f}, {tested.mean_set_size:.2f} options on average"
        table.add_row(f"prediction sets ({sets.score})", f"coverage {sets.coverage:g}", found)
    if abstention is not None and tested is not None:
        sign = "at most" if abstention.target == "risk" else "at least"
        promised = f"{abstention.target} {sign} {abstention.value:g} with confidence {abstention.guarantee:g}"
        found = f"risk {_maybe(tested.selective_risk)} at coverage {tested.answered:.3f}"
        table.add_row(f"abstain below {abstention.threshold:g}", promised, found)
    return table


def _with(value: float, interval: StoredInterval) -> str:
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _maybe(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


_ROWS = {
    "questions": lambda s: str(s.questions),
    "accuracy": lambda s: _with(s.accuracy, s.accuracy_interval),
    "RMS calibration error": lambda s: _with(s.rms_calibration_error, s.rms_calibration_error_interval),
    "ECE (15 bins)": lambda s: f"{s.ece:.3f}",
    "ECE noise floor (mean, p95)": lambda s: f"{s.ece_noise_floor:.3f}, {s.ece_noise_floor_p95:.3f}",
    "NLL (nats)": lambda s: _with(s.nll, s.nll_interval),
    "Brier": lambda s: _with(s.brier, s.brier_interval),
    "AUROC of confidence": lambda s: _maybe(s.auroc_confidence),
    "AUROC of FEU": lambda s: _maybe(s.auroc_feu),
    "ECE of FEU": lambda s: _maybe(s.ece_feu),
    "mean FEU": lambda s: _maybe(s.mean_feu),
    "area under risk-coverage": lambda s: f"{s.area_under_risk_coverage:.3f}",
}
