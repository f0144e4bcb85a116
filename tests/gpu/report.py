"""The results of the GPU check: a JSON file and a Markdown table with the same numbers."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1  # of the JSON file; raised when a field changes its meaning
JSON_FILE = "gpu.json"
TABLE_FILE = "gpu.md"
SIGNIFICANT = 3  # digits in the table; the JSON file has them all


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its bounds, if it has any."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def bounded(self) -> bool:
        """Whether the number has a bound."""
        return self.at_most is not None or self.at_least is not None

    @property
    def holds(self) -> bool:
        """Whether the number is finite and within its bounds."""
        above = self.at_most is not None and self.value > self.at_most
        below = self.at_least is not None and self.value < self.at_least
        return math.isfinite(self.value) and not above and not below

    def __str__(self) -> str:
        bounds = [
            f"{sign} {bound:g}" for sign, bound in (("≤", self.at_most), ("≥", self.at_least)) if bound is not None
        ]
        wrong = "" if self.holds else "**"
        unit = f" {self.unit}" if self.unit else ""
        return f"{wrong}{self.name} {_short(self.value)}{unit}{wrong}" + (f" ({', '.join(bounds)})" if bounds else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One case of a part. `error` says why it failed to finish, `not_run` why it was not started."""

    part: str
    case: str
    figures: tuple[Figure, ...] = ()
    seconds: float = 0.0
    peak_megabytes: float | None = None
    error: str | None = None
    not_run: str | None = None
    expected: bool = False  # whether a case that was not run has no place on this machine

    @property
    def result(self) -> str:
        """`passed`, `failed`, `measured` (nothing to fail) or `not run`."""
        if self.not_run is not None:
            return "not run"
        if self.error is not None or not all(figure.holds for figure in self.figures):
            return "failed"
        return "passed" if any(figure.bounded for figure in self.figures) else "measured"


@dataclass(frozen=True, slots=True)
class Report:
    """The machine and every row; `machine` identifies the run, as text by name."""

    machine: dict[str, str]
    rows: Sequence[Row]

    def exit_code(self, *, allow_missing: bool) -> int:
        """Return 1 if a case failed, or was not run although it should have been and that is not allowed."""
        failed = any(row.result == "failed" for row in self.rows)
        missing = any(row.result == "not run" and not row.expected for row in self.rows)
        return int(failed or (missing and not allow_missing))

    def to_json(self) -> str:
        """Return every number at full precision; non-finite numbers are `null`."""
        record = {"format": FORMAT, **self.machine, "rows": [_row_record(row) for row in self.rows]}
        return json.dumps(record, indent=2, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """Return the table, preceded by a line on the machine."""
        machine = "; ".join(f"{name} {value}" for name, value in self.machine.items())
        lines = ["| part | case | result | figures | s | peak MB |", "|---|---|---|---|---:|---:|"]
        return "\n".join([f"GPU check: {machine}.", "", *lines, *map(_table_line, self.rows)]) + "\n"

    def write(self, folder: Path) -> None:
        """Write both files into a folder, each in one step."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((JSON_FILE, self.to_json()), (TABLE_FILE, self.to_markdown())):
            staged = folder / f".{name}-{secrets.token_hex(4)}"
            staged.write_text(text, encoding="utf-8")
            os.replace(staged, folder / name)  # noqa: PTH105  # the same as Path.replace, and as well known


def _row_record(row: Row) -> dict[str, Any]:
    return {
        "part": row.part,
        "case": row.case,
        "result": row.result,
        "seconds": row.seconds,
        "peak_megabytes": row.peak_megabytes,
        "error": row.error,
        "not_run": row.not_run,
        "figures": [
            {
                "name": figure.name,
                "value": figure.value if math.isfinite(figure.value) else None,
                "unit": figure.unit,
                "at_most": figure.at_most,
                "at_least": figure.at_least,
                "holds": figure.holds,
            }
            for figure in row.figures
        ],
    }


def _table_line(row: Row) -> str:
    texts = [row.not_run or "", row.error or "", *map(str, row.figures)]
    figures = "; ".join(_cell(text) for text in texts if text)
    ran = row.not_run is None
    seconds = f"{row.seconds:.1f}" if ran else ""
    peak = f"{row.peak_megabytes:.0f}" if row.peak_megabytes is not None else ""
    return f"| {row.part} | {_cell(row.case)} | {row.result} | {figures} | {seconds} | {peak} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _short(value: float) -> str:
    """Format a number with three significant digits, without an exponent where that is readable."""
    if not math.isfinite(value):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.{SIGNIFICANT}g}"
