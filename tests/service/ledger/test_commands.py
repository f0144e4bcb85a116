"""uq4ct ledger migrate | prune | export."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.command_line import uq4ct
from tests.service.ledger.conftest import count_rows, id_of_age, insert, insert_label, make_record, newest_revision
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.export import export_lines, write_lines
from uq4ct.service.ledger.retention import accept_clock


def run(url: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    result = uq4ct(["ledger", *arguments], env={"UQ4CT_DATABASE_URL": url, "UQ4CT_RETENTION_DAYS": "30"})
    return result.exit_code, result.stdout, result.stderr


def test_migrate(new_url: Callable[[], str]) -> None:
    code, output, _ = run(new_url(), "migrate")
    assert (code, output) == (0, f"schema {newest_revision()}\n")


def test_prune(url: str, database: Database) -> None:
    insert(database, *(make_record(prediction_id=id_of_age(days)) for days in (31, 40, 29)))
    code, output, _ = run(url, "prune")
    assert (code, output) == (0, "2 predictions deleted\n")
    assert count_rows(database) == (1, 0)


def test_prune_with_a_clock_ahead_deletes_nothing_until_a_person_has_checked_it(url: str, database: Database) -> None:
    insert(database, *(make_record(prediction_id=id_of_age(days)) for days in (31, 29)))
    last = make_record().created_ms - 8 * 86_400_000
    accept_clock(database, last)
    code, output, said = run(url, "prune")
    assert (code, output) == (1, "")
    shown = f"{datetime.datetime.fromtimestamp(last / 1000, datetime.UTC):%Y-%m-%d %H:%M}"
    assert f"retention last ran at {shown} UTC, more than 7 days earlier" in said
    assert len(said.strip().splitlines()) == 1
    assert count_rows(database) == (2, 0)
    for _ in range(2):
        code, output, _ = run(url, "prune", "--clock-is-right")
        assert code == 0
    assert run(url, "prune")[0] == 0
    assert count_rows(database) == (1, 0)


def test_export(url: str, database: Database, tmp_path: Path) -> None:
    records = [
        make_record(prediction_id=id_of_age(days), confidence=days / 3e3, error_score=None if days % 2 else days / 7)
        for days in range(1, 1203)
    ]
    insert(database, *records)
    insert_label(database, records[0], 1)
    code, output, _ = run(url, "export")
    assert code == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["prediction_id"] for line in lines] == [record.prediction_id for record in reversed(records)]
    label = {"answer": 1, "correct": True, "source": None, "labelled_ms": records[0].created_ms}
    expected = asdict(records[0]) | {"created_ms": records[0].created_ms, "label": label}
    assert lines[-1] == json.loads(json.dumps(expected))
    assert lines[0]["label"] is None
    target = tmp_path / "export.jsonl"
    code, _, said = run(url, "export", "--output", str(target))
    assert (code, said.splitlines()[-1]) == (0, f"1202 predictions written to {target}")
    assert target.read_text() == output


def test_an_export_that_breaks_leaves_the_old_file(database: Database, tmp_path: Path) -> None:
    target = tmp_path / "export.jsonl"
    target.write_text("old\n")
    insert(database, make_record())

    def broken() -> object:
        yield from export_lines(database)
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        write_lines(broken(), target)  # type: ignore[arg-type]
    assert target.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root:secret@host/x", "DATABASE_URL: unsupported driver 'mysql'"),
        ("postgres secret", "DATABASE_URL: must be a database URL"),
        ("sqlite://", "DATABASE_URL: must not be an in-memory database"),
        ("sqlite:////proc/no/ledger.sqlite3", "DATABASE_URL: "),
        ("postgresql+psycopg://ledger:secret@127.0.0.1:1/x?connect_timeout=1", "cannot be opened"),
    ],
)
@pytest.mark.parametrize("command", ["migrate", "prune", "export"])
def test_what_an_operator_can_mend_is_one_line(url: str, message: str, command: str) -> None:
    code, output, said = run(url, command)
    assert code == 1
    assert f"error: {message}" in said or message in said
    assert "secret" not in output + said
