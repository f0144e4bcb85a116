"""uq4ct calibration-report: write the results of GET /calibration to a file, with plots."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from uq4ct.service.settings import read_settings

DEFAULT_WINDOW = "7d"


def calibration_report(
    output: Annotated[Path | None, typer.Option(help="self-contained HTML file to write, with plots")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="JSON file to write: the fields of GET /calibration, and `days`")
    ] = None,
    window: Annotated[
        str | None, typer.Option(help=f"how far back to look, such as 90m, 24h or 30d (default: {DEFAULT_WINDOW})")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="start time in UTC instead of a window, such as 2026-01-31 or 2026-01-31T08:00")
    ] = None,
    model: Annotated[str | None, typer.Option(help="only this name or name@version; default: all")] = None,
) -> None:
    """Write a report of the calibration in the ledger.

    It compares confidence with accuracy, by model version and day of the prediction. Days with few labels are pooled.

    It reads the ledger at UQ4CT_DATABASE_URL, for all tenants, and the manifests of the versions in
    UQ4CT_MODEL_STORE_DIR; a server may run at the same time. It warns if there are few labels.
    """
    from uq4ct.service.reports.reporting import write_reports

    write_reports(read_settings(os.environ, {}), output, json_file, window=window, since=since, model=model)
