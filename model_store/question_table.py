"""Many questions in little memory: one buffer of bytes with a span for each question, which is built when asked for."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from uq4ct.model_store.questions import Question


class QuestionTable(Sequence[Question]):
    """Questions that take the size of their texts and about 30 bytes each; a selection shares the texts.

    Equal to any sequence of the same questions.
    """

    def __init__(self, texts: bytearray, spans: np.ndarray) -> None:
        """Take the packed questions and their `spans` int64 [N, 2] in `texts`; `pack_questions` makes both."""
        self._texts = texts
        self._spans = spans

    def select(self, indices: Sequence[int]) -> QuestionTable:
        """Return the questions at these indices, in this order."""
        return QuestionTable(self._texts, self._spans[np.asarray(indices, np.int64)])

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> Question: ...

    @overload
    def __getitem__(self, index: slice) -> QuestionTable: ...

    def __getitem__(self, index: int | slice) -> Question | QuestionTable:
        if isinstance(index, slice):
            return QuestionTable(self._texts, self._spans[index])
        start, end = self._spans[index].tolist()
        return _unpack(self._texts[start:end])

    def __iter__(self) -> Iterator[Question]:
        for first in range(0, len(self._spans), _AT_ONCE):
            for start, end in self._spans[first : first + _AT_ONCE].tolist():
                yield _unpack(self._texts[start:end])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # as of a list


_AT_ONCE = 4096  # spans that are converted together
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
    bounds = np.frombuffer(ends, np.int64)
    return QuestionTable(texts, np.stack([bounds[:-1], bounds[1:]], axis=1))


_VERSION = 4  # of marshal's format, which has short headers for short texts


def _unpack(packed: bytearray) -> Question:
    """Build a question that was valid when it was packed, without validating it again."""
    question = object.__new__(Question)
    for set_field, value in zip(_SETTERS, marshal.loads(packed), strict=True):
        set_field(question, value)
    return question
