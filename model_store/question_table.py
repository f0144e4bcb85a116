"""Many questions in little memory: one buffer of bytes with a span for each question, which is built when asked for."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from uq4ct.model_store.questions import Question


class QuestionTable(Sequence[Question]):
    """Questions that take the size of their texts and about 30 bytes each; a selection shares the texts.

    Equal to any sequence of the same questions.
    """

    def __init__(self, texts: bytearray, starts: array[int], ends: array[int]) -> None:
        """Take the packed questions, and where each starts and ends in `texts`; `pack_questions` makes all three."""
        self._texts = texts
        self._starts = starts
        self._ends = ends

    def select(self, indices: Sequence[int]) -> QuestionTable:
        """Return the questions at these indices, in this order."""
        starts, ends = (array("q", map(places.__getitem__, indices)) for places in (self._starts, self._ends))
        return QuestionTable(self._texts, starts, ends)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Question: ...

    @overload
    def __getitem__(self, index: slice) -> QuestionTable: ...

    def __getitem__(self, index: int | slice) -> Question | QuestionTable:
        if isinstance(index, slice):
            return QuestionTable(self._texts, self._starts[index], self._ends[index])
        return _unpack(self._texts[self._starts[index] : self._ends[index]])

    def __iter__(self) -> Iterator[Question]:
        for start, end in zip(self._starts, self._ends, strict=True):
            yield _unpack(self._texts[start:end])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # as of a list


# They set a field of a frozen question, in less time than `object.__setattr__`.
_SETTERS = tuple(
    getattr(Question, field).__set__ for field in ("id", "text", "options", "context", "answer", "subject")
)


def pack_questions(questions: Iterable[Question]) -> QuestionTable:
    """Return a table of the questions, which are read one by one."""
    texts = bytearray()
    ends = array("q", [0])
    for one in questions:
        answer = None if one.answer is None else int(one.answer)  # marshal would write NumPy's numbers as bytes
        texts += marshal.dumps((one.id, one.text, one.options, one.context, answer, one.subject), _VERSION)
        ends.append(len(texts))
    return QuestionTable(texts, ends[:-1], ends[1:])


_VERSION = 4  # of marshal's format, which has short headers for short texts


def _unpack(packed: bytearray) -> Question:
    """Build a question that was valid when it was packed, without validating it again."""
    question = object.__new__(Question)
    for set_field, value in zip(_SETTERS, marshal.loads(packed), strict=True):
        set_field(question, value)
    return question
