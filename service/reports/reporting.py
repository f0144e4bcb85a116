"""What `uq4ct calibration-report` does: read the ledger and write the report."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import replace
from pathlib import Path

import typer

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.calibration import score_cohorts
from uq4ct.service.ledger.cohorts import LiveCalibration, alarms_of, read_manifests
from uq4ct.service.ledger.commands import opened
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.monitor import read_tests
from uq4ct.service.ledger.queries import Window, count_cohorts, scored_predictions
from uq4ct.service.ledger.retention import oldest_kept_ms
from uq4ct.service.ledger.windows import window_ms, window_of
from uq4ct.service.reports.commands import DEFAULT_WINDOW
from uq4ct.service.reports.days import DaysView, score_days
from uq4ct.service.schemas.calibration import CalibrationReport
from uq4ct.service.schemas.common import show_time
from uq4ct.service.settings import Settings


class ReportError(UserError):
    """A report cannot be written as requested; the message says what would work."""


def write_reports(
    settings: Settings,
    output: Path | None,
    json_file: Path | None,
    *,
    window: str | None,
    since: str | None,
    model: str | None,
) -> None:
    """Write a report of the ledger as HTML, as JSON or both; the arguments are those of `calibration_report`.

    Raises:
        ReportError: there is nothing to write or to report, or the window or the model is invalid.
        LedgerError, LedgerUnavailableError: the ledger cannot be read.
    """
    if output is None and json_file is None:
        raise ReportError("nothing to write: set --output FILE.html, --json FILE or both")
    now_ms = int(time.time() * 1000)
    first_ms = max(_first_ms(window, since, now_ms), oldest_kept_ms(now_ms, settings.retention_days))
    asked = _window(first_ms, now_ms, model)
    with opened(settings) as database:
        report, days = _read(database, Registry(settings.model_store_dir), asked)
        if not report.models:
            raise ReportError(_nothing(database, asked, model))
    if output is not None:
        from uq4ct.service.reports.page import write_page  # noqa: PLC0415  # imports matplotlib, which servers do not need

        _write(output, write_page(report, days), report)
    if json_file is not None:
        shown = report.model_dump(mode="json") | {"days": [day.model_dump(mode="json") for day in days]}
        _write(json_file, json.dumps(shown, indent=2) + "\n", report)


def _read(database: Database, adapters: Registry, asked: Window) -> tuple[CalibrationReport, list[DaysView]]:
    scored = scored_predictions(database, asked)
    tests = read_tests(database, asked.tenant)
    live = LiveCalibration(score_cohorts(count_cohorts(database, asked), scored, tests), alarms_of(tests))
    manifests = read_manifests(adapters, live.cohorts)
    report = CalibrationReport.from_live(asked.since_ms, asked.until_ms, live, manifests)
    return report, score_days(scored)


def _write(path: Path, text: str, report: CalibrationReport) -> None:
    replace_file(path, text.encode())
    typer.echo(f"wrote {path}: {', '.join(one.model for one in report.models)}", err=True)


def _first_ms(window: str | None, since: str | None, now_ms: int) -> int:
    if window is not None and since is not None:
        raise ReportError(f"--window {window} and --since {since} exclude each other: set only one")
    if since is None:
        try:
            return now_ms - window_ms(window or DEFAULT_WINDOW)
        except ValueError as error:
            raise ReportError(f"--window {error}") from error
    try:
        moment = datetime.datetime.fromisoformat(since)
    except ValueError as error:
        raise ReportError(f"--since must be a date or a time such as 2026-01-31T08:00 (got {since!r})") from error
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
    first_ms = int(moment.timestamp() * 1000)
    if first_ms > now_ms:
        raise ReportError(f"--since {since} is in the future")
    return first_ms


def _window(first_ms: int, now_ms: int, model: str | None) -> Window:
    try:
        return window_of(first_ms, now_ms, tenant=None, model=model)
    except ValueError as error:
        raise ReportError(f"--model {error}") from error


def _nothing(database: Database, asked: Window, model: str | None) -> str:
    """Explain why there is nothing to report, and name the versions that have predictions."""
    moment = f"{show_time(asked.since_ms):%Y-%m-%d %H:%M} UTC"
    others = count_cohorts(database, replace(asked, model=None, version=None)) if model is not None else []
    if others:
        known = ", ".join(f"{one.model}@{one.version}" for one in others)
        return f"--model {model} has no predictions since {moment}; these versions have: {known}"
    return f"the ledger has no predictions since {moment}: set a longer --window, or check UQ4CT_DATABASE_URL"
