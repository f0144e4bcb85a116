"""Rows survive a kill at any byte, and rows of other configurations are ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.study.simulated import simulate_answers
from uq4ct.training.evaluation.scores import compute_scores
from uq4ct.training.study.rows import ROWS_FILE, FailedRow, FinishedRow, RowFile, RowsError, SplitScores, latest_rows


def failed(message: str, *, seed: int = 0, digest: str = "d") -> FailedRow:
    return FailedRow(
        data_set="quiz", label="lora", method="lora", seed=seed, digest=digest, code_commit=None, message=message
    )


def finished() -> FinishedRow:
    scores = compute_scores(simulate_answers(20, seed=0))
    return FinishedRow(
        data_set="quiz",
        label="lora",
        method="lora",
        seed=0,
        digest="d",
        code_commit="abc",
        dtype="float32",
        train_seconds=1.5,
        trained_parameters=10,
        passes=1,
        scoring_seconds=0.01,
        scored=(SplitScores(split="test", calibration="none", scores=scores, predictions="p.jsonl"),),
    )


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "new" / "folder")
    assert file.read() == []
    rows = [finished(), failed("no luck")]
    for row in rows:
        file.append(row)
    assert file.read() == rows


@given(data=st.data())
def test_a_torn_line_is_dropped_and_written_over(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """However many bytes of the last line reached the disk, the rows before and after it are complete."""
    folder = tmp_path_factory.mktemp("rows")
    file = RowFile(folder)
    first, second, third = failed("first"), failed("second: ü"), failed("third")
    file.append(first)
    whole = (folder / ROWS_FILE).read_bytes()
    torn = second.model_dump_json().encode()
    kept = data.draw(st.integers(min_value=1, max_value=len(torn)))
    (folder / ROWS_FILE).write_bytes(whole + torn[:kept])
    assert file.read() == [first]
    file.append(third)
    assert file.read() == [first, third]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / ROWS_FILE).write_text(failed("x").model_dump_json() + "\n{}\n")
    with pytest.raises(RowsError, match=r"rows\.jsonl, line 2"):
        RowFile(tmp_path).read()


def test_the_last_row_of_the_present_configuration_counts(make_study: Callable) -> None:
    study = make_study()
    cell = study.cells[0]
    place = {"data_set": cell.key.data_set, "label": cell.key.label, "seed": cell.key.seed}
    rows = [
        failed(text).model_copy(update=place | {"digest": digest})
        for text, digest in [("early", cell.digest), ("late", cell.digest), ("of another configuration", "old")]
    ]
    found = latest_rows(rows, study.cells)
    assert [row.message for row in found.values() if isinstance(row, FailedRow)] == ["late"]
