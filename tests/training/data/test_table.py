"""Parquet, CSV and JSON lines of any layout give the same questions; a mistake is named by file and row."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.tiny_task import tiny_records
from uq4ct.model_store.question_files import QuestionFileError
from uq4ct.training.data import hub_table, table
from uq4ct.training.data.columns import Columns
from uq4ct.training.data.config import HubTableData, TableData
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.source import DataError
from uq4ct.training.run_config import ConfigError, parse_run_config

WIDE = Columns(question="stem", options=("a", "b", "c", "d"), answer="right", answer_is="number", id="key")


def wide_rows(count: int) -> list[dict[str, Any]]:
    """Rows with a column for each option, empty where a question has fewer."""
    rows = []
    for record in tiny_records("wide", count, seed=3):
        options = [*record["options"], "", "", ""][:4]
        row = dict(zip("abcd", options, strict=True))
        rows.append({"key": record["id"], "stem": record["question"], "right": record["answer"] + 1, **row})
    return rows


def write(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Path]:
    """Write the same rows in each kind of file."""
    paths = {kind: folder / f"rows.{kind}" for kind in ("parquet", "csv", "jsonl")}
    pq.write_table(pa.Table.from_pylist(rows), paths["parquet"])
    with paths["csv"].open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    paths["jsonl"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


def test_every_kind_of_file_gives_the_same_questions(tmp_path: Path) -> None:
    rows = wide_rows(9000)  # more than two batches of a Parquet file
    found = {kind: list(table.read_table(path, WIDE).questions) for kind, path in write(tmp_path, rows).items()}
    assert found["parquet"] == found["csv"] == found["jsonl"]
    assert [question.id for question in found["csv"]] == [row["key"] for row in rows]
    assert {len(question.options) for question in found["csv"]} == {2, 3, 4}
    assert found["csv"][8999].answer == rows[8999]["right"] - 1


def test_splits_are_carved_and_a_recipe_names_its_columns(tmp_path: Path) -> None:
    write(tmp_path, wide_rows(100))
    record = {
        "name": "wide",
        "method": "lora",
        "data": {"source": "table", "train": str(tmp_path / "rows.parquet"), "columns": WIDE.model_dump(mode="json")},
        "adapter": {"experts": 1, "top_k": 1},
        "loss": {"calibration": 0},
    }
    config = parse_run_config(record, "test")
    assert isinstance(config.data, TableData)
    splits, messages = load_splits(config.data)
    sizes = [len(one) for one in (splits.train, splits.fit, splits.guarantee, splits.test)]
    assert sum(sizes) == 100
    assert min(sizes) > 2
    assert any("are the test split" in message for message in messages)


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"right": 7}, WIDE, r"rows\.csv, row 2: "),
        ({}, WIDE.model_copy(update={"question": "text"}), r"rows\.csv, row 1: column 'text' is missing from \['a', "),
    ],
)
def test_a_mistake_is_named_by_file_and_row(tmp_path: Path, row: Any, columns: Columns, message: str) -> None:
    rows = wide_rows(3)
    rows[1] |= row
    with pytest.raises(QuestionFileError, match=message):
        table.read_table(write(tmp_path, rows)["csv"], columns)


def test_a_repeated_option_is_left_out(tmp_path: Path) -> None:
    rows = wide_rows(3)
    rows[1] |= {"a": "red", "b": " red ", "right": 1}
    for path in write(tmp_path, rows).values():
        found = table.read_table(path, WIDE)
        assert (len(found.questions), found.left_out) == (2, ("row 2",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.xlsx", b"", "must be a file of the kind .parquet, .csv, .jsonl"),
        ("rows.parquet", b"no parquet", "rows.parquet: cannot be read: "),
        ("missing.parquet", None, "missing.parquet: cannot be read: No such file"),
        ("rows.csv", b"stem,a\nx\n", "row 1: the number of cells differs from the header's"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(QuestionFileError, match=message):
        table.read_table(tmp_path / name, WIDE)


def hub_data(**fields: Any) -> HubTableData:
    return HubTableData(dataset="owner/name", columns=WIDE, **fields)


def test_any_hub_data_set_is_read_by_its_columns() -> None:
    asked: list[tuple[str, str | None, str, str]] = []
    rows = wide_rows(60)

    def load_rows(*what: Any) -> Any:
        asked.append(what)
        own = {"train": rows[:40], "validation": rows[40:50], "other": rows[50:]}[what[2]]
        return [*own, {**own[0], "right": 9}]

    shift = {"others": hub_data(split="other").model_dump(exclude={"source"})}
    shift["others"] = {name: shift["others"][name] for name in ("dataset", "split", "columns")}
    splits = hub_table.load(
        HubTableData.model_validate(
            {**hub_data(config="main", revision="v1", test_split="validation").model_dump(), "shift": shift}
        ),
        load_rows,
    )
    assert len(splits.train) + len(splits.calibration) == 40
    assert 2 < len(splits.calibration) < 16
    assert len(splits.test) == 10
    assert len(splits.shift["others"]) == 10
    assert asked[0] == ("owner/name", "main", "train", "v1")
    assert asked[-1] == ("owner/name", None, "other", "main")
    assert sum("1 rows are not valid questions and were left out" in message for message in splits.messages) == 3


def test_a_hub_data_set_without_a_mapped_column_is_an_error() -> None:
    with pytest.raises(DataError, match=r"owner/name-train-0: the row has no column 'a', it has \['question'\]"):
        hub_table.load(hub_data(), lambda *_: [{"question": "Which?"}])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test_split": "train"}, "name a split twice"),
        ({"test_split": "test", "test_share": 0.1}, "test_share 0.1 has no effect"),
        ({"calibration_split": "validation", "calibration_share": 0.1}, "calibration_share 0.1 has no effect"),
        ({"shift": {"fit": {"dataset": "a/b"}}}, "'fit' is the name of a split"),
        ({"column": {}}, "column"),
        ({"columns": {"question": 3}}, "columns.question"),
    ],
)
def test_a_recipe_with_a_mistake_in_its_hub_data_is_refused(fields: dict[str, Any], message: str) -> None:
    record = {"name": "n", "method": "lora", "data": {"source": "hub", "dataset": "owner/name", **fields}}
    with pytest.raises(ConfigError, match=message):
        parse_run_config(record, "test")


def test_a_name_without_an_owner_is_one_of_the_known_sets() -> None:
    record = {"name": "n", "method": "lora", "data": {"source": "hub", "dataset": "unknown"}}
    with pytest.raises(ConfigError, match="dataset 'unknown' is not one of openbookqa"):
        parse_run_config(record, "test")
