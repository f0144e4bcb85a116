"""Tables of pandas and polars, which are not imported: what they have in common is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from uq4ct.service.client.bodies import Item, read_shared
from uq4ct.service.client.errors import InvalidArgumentError
from uq4ct.service.client.records import Prediction, Problem
from uq4ct.service.client.rows import check_columns, fill_row, name_columns, read_row

_PANDAS_KINDS = ("string", "Int64", "float64", "float64", "boolean", "string", "string")  # each has a missing value

F = TypeVar("F")


class FrameQuestions(Generic[F]):
    """The questions of a table, one a row.

    Args:
        question: the column of the questions.
        options: the columns of the options, or one column that holds lists.
        prefix: begins the names of the new columns.
        shared: the fields that all questions share.

    Raises:
        InvalidArgumentError: an argument is invalid; the message names it.
    """

    def __init__(
        self, df: F, question: str, options: str | Sequence[str], prefix: str, shared: Mapping[str, object]
    ) -> None:
        self._frame: Any = df  # of a type that is not imported
        if not any(hasattr(df, name) for name in ("assign", "hstack")):
            raise InvalidArgumentError(f"df: must be a DataFrame of pandas or polars (got {type(df).__name__})")
        columns = list(self._frame.columns)
        check_columns(columns, question, options)
        self._names = name_columns("df", prefix, columns)
        listed: Sequence[object]
        if isinstance(options, str):
            listed = self._cells(options)
        else:
            listed = list(zip(*(self._cells(one) for one in options), strict=True))
        fields = read_shared(shared)
        self._rows = [read_row(*cells, fields) for cells in zip(self._cells(question), listed, strict=True)]

    @property
    def items(self) -> list[Item]:
        """What to ask, for the rows that can be asked."""
        return [row.item for row in self._rows if row.item is not None]

    def join(self, results: Sequence[Prediction | Problem]) -> F:
        """Return the table with the answers in new columns; `results` are those of `items`."""
        answers = iter(results)
        cells = [fill_row(row, None if row.item is None else next(answers)) for row in self._rows]
        values = list(zip(*cells, strict=True)) or [()] * len(self._names)
        columns = {name: list(column) for name, column in zip(self._names, values, strict=True)}
        if hasattr(self._frame, "hstack"):  # polars
            joined: F = self._frame.hstack(type(self._frame)(columns))
        else:
            kinds = dict(zip(self._names, _PANDAS_KINDS, strict=True))
            joined = self._frame.assign(**columns).astype(kinds)
        return joined

    def _cells(self, column: str) -> list[object]:
        return list(self._frame[column].to_list())
