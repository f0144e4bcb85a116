"""The section "Ledger": labels are counted, and the commands work on the ledger of the running service."""

from __future__ import annotations

import json

import pytest

from tests.readme.curl import count_labels, send
from tests.readme.examples.root import PREDICT
from tests.readme.examples.service import CALIBRATION, EXPORT, FEEDBACK, MIGRATE, PRUNE, PRUNE_ANYWAY
from tests.readme.terminal import Terminal


@pytest.mark.slow
def test_a_label_is_counted_and_exported(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    before = count_labels(send(terminal, CALIBRATION, address))
    prediction_id = send(terminal, PREDICT, address)["prediction_id"]
    told = send(terminal, FEEDBACK.replace('"..."', f'"{prediction_id}"'), address)
    assert told == {"prediction_id": prediction_id, "result": "accepted"}
    assert count_labels(send(terminal, CALIBRATION, address)) == before + 1
    assert terminal.run(MIGRATE).startswith("schema ")
    assert terminal.run(PRUNE) == terminal.run(PRUNE_ANYWAY) == "0 predictions deleted\n"
    terminal.run(EXPORT)
    exported = [json.loads(line) for line in (terminal.folder / "ledger.jsonl").read_text().splitlines()]
    (row,) = (row for row in exported if row["prediction_id"] == prediction_id)
    assert row["label"]["answer"] == 1


def test_the_commands_make_a_ledger_where_there_is_none(stocked: Terminal) -> None:
    for command in (MIGRATE, PRUNE, PRUNE_ANYWAY, EXPORT):
        stocked.run(command)
    assert (stocked.folder / "ledger.jsonl").read_text() == ""
