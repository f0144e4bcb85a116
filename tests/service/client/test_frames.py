"""Questions in a table of pandas or polars: the same table with the answers in new columns."""

from __future__ import annotations

from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest

from tests.service.client.echo_service import EchoService
from tests.service.client.scripted_service import PREDICTION, PROBLEM, Script, both_forms
from uq4ct.client import Client, InvalidArgumentError

OPTIONS = ["a", "b", "c"]
NEW = ["predicted", "predicted_index", "confidence", "feu", "abstained", "prediction_id", "error"]


class Column(list[Any]):
    """A column as polars has it."""

    def to_list(self) -> list[Any]:
        return list(self)


class PolarsLike:
    """What `predict_frame` uses of a table of polars."""

    def __init__(self, data: dict[str, list[Any]]) -> None:
        self.data = data

    @property
    def columns(self) -> list[str]:
        return list(self.data)

    def __getitem__(self, name: str) -> Column:
        return Column(self.data[name])

    def hstack(self, other: PolarsLike) -> PolarsLike:
        return PolarsLike(self.data | other.data)


def pandas_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [7, 8, 9, 10],
            "text": ["first", None, "third", "fourth"],
            "a": ["x", "x", None, "x"],
            "b": ["y", "y", "y", float("nan")],
            "c": [pd.NA, "z", "z", np.float64("nan")],
        },
        index=[3, 1, 4, 1],
    )


def answer_last(items: list[dict[str, Any]]) -> httpx2.Response:
    """Answer with the last option, except for questions with fewer than two."""
    results = [
        PROBLEM | {"status": 422, "detail": "options: must have between 2 and 26 entries"}
        if len(item["options"]) < 2
        else PREDICTION
        | {
            "prediction_id": item["question"],
            "option": {"index": len(item["options"]) - 1, "label": "?", "text": item["options"][-1]},
        }
        for item in items
    ]
    return httpx2.Response(200, json={"results": results})


class LastOptionService(EchoService):
    """Answers each question with its last option."""

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        super().handle(request)
        return answer_last(self.items[-1])


@both_forms
def test_a_table_of_pandas_keeps_its_rows_and_gets_the_answers(form: str) -> None:
    service, table = LastOptionService(), pandas_table()
    answered = Script().run(
        form, lambda client: client.predict_frame(table, "text", OPTIONS, model="toy@1"), **service.settings
    )
    assert isinstance(answered, pd.DataFrame)
    pd.testing.assert_frame_equal(answered.drop(columns=NEW), pandas_table())
    assert list(answered.columns) == [*table.columns, *NEW]
    assert [None if pd.isna(one) else one for one in answered["predicted"]] == ["y", None, "z", None]
    assert [None if pd.isna(one) else one for one in answered["predicted_index"]] == [1, None, 2, None]
    assert [None if pd.isna(one) else one for one in answered["prediction_id"]] == ["first", None, "third", None]
    assert answered["error"].tolist()[1::2] == [
        "question: is missing", "422 options: must have between 2 and 26 entries",
    ]  # fmt: skip
    assert answered["error"].isna().tolist() == [True, False, True, False]
    assert answered["confidence"].tolist()[::2] == [PREDICTION["confidence"]] * 2
    assert [str(answered[name].dtype) for name in ("predicted_index", "confidence", "abstained")] == [
        "Int64", "float64", "boolean",
    ]  # fmt: skip
    (items,) = service.items
    assert [(item["question"], item["options"], item["model"]) for item in items] == [
        ("first", ["x", "y"], "toy@1"), ("third", ["y", "z"], "toy@1"), ("fourth", ["x"], "toy@1"),
    ]  # fmt: skip


def test_a_table_of_another_library_is_used_through_what_it_shares_with_polars() -> None:
    table = PolarsLike({"q": ["one", "two"], "choices": [["x", None, "y"], ("x", "y", "z")]})
    with Client("http://service", **LastOptionService().settings) as client:
        answered = client.predict_frame(table, "q", "choices", prefix="toy_")
    assert answered.columns == ["q", "choices", *(f"toy_{name}" for name in NEW)]
    assert answered["toy_predicted"] == ["y", "z"]
    assert answered["toy_predicted_index"] == [2, 2]
    assert answered["toy_error"] == [None, None]


@pytest.mark.parametrize("cell", [["x", "y"], ("x", "y"), np.array(["x", "y"]), pd.Series(["x", "y"])])
def test_a_column_may_hold_lists_of_any_kind(cell: Any) -> None:
    service = LastOptionService()
    table = pd.DataFrame({"q": ["one", "two", "three"], "o": pd.Series([cell, None, "x"], dtype=object)})
    with Client("http://service", **service.settings) as client:
        answered = client.predict_frame(table, "q", "o")
    assert answered["predicted"].tolist()[0] == "y"
    assert answered["error"].tolist()[1:] == [
        "options: is missing", "options: must be several texts (got the single text 'x')",
    ]  # fmt: skip
    assert service.items[0][0]["options"] == ["x", "y"]


def test_the_same_row_has_the_same_key_and_another_row_another() -> None:
    service = EchoService()
    table = pd.DataFrame({"q": ["one", "two", "one", "one"], "a": ["x", "x", "x", "y"], "b": ["y", "y", "y", "x"]})
    with Client("http://service", **service.settings) as client:
        client.predict_frame(table, "q", ["a", "b"])
        client.predict_frame(table[:1], "q", ["a", "b"])
        client.predict_frame(table[:1], "q", ["a", "b"], abstain_below=np.float64(0.5))
    first, second, third = ([item["idempotency_key"] for item in items] for items in service.items)
    assert first[0] == first[2] == second[0]
    assert len({*first, *second, *third}) == 4


def test_an_empty_table_gets_the_columns() -> None:
    table = pd.DataFrame({"q": [], "a": [], "b": []})
    with Client("http://service", **EchoService().settings) as client:
        assert list(client.predict_frame(table, "q", ["a", "b"]).columns) == ["q", "a", "b", *NEW]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"question": "nope"}, r"question: no column 'nope' \(columns: id, text, a, b, c\)"),
        ({"options": ["a", "d"]}, r"options: no column 'd' \(columns: "),
        ({"options": "choices"}, r"options: no column 'choices' \(columns: "),
        ({"df": [1, 2]}, r"df: must be a DataFrame of pandas or polars \(got list\)"),
        ({"df": pandas_table().assign(error=1)}, "df: already has the column 'error'; set prefix="),
        ({"abstain_below": float("nan")}, r"abstain_below: must be finite \(got nan\)"),
        ({"idempotency_key": "k"}, "idempotency_key: is no field that rows can share; allowed: context, model, "),
        ({"concurrency": 99}, "concurrency: must be a whole number, 1 to 8"),
    ],
)
def test_arguments_of_a_table_are_named(arguments: dict[str, Any], message: str) -> None:
    service = EchoService()
    call: dict[str, Any] = {"df": pandas_table(), "question": "text", "options": OPTIONS} | arguments
    with (
        Client("http://service", **service.settings) as client,
        pytest.raises(InvalidArgumentError, match=f"^{message}"),
    ):
        client.predict_frame(**call)
    assert service.items == []
