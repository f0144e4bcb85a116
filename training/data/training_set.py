"""Encoded training questions in little memory: their tokens are in a file without a name, which is mapped."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any, overload

import numpy as np

from uq4ct.model_store.full_disk import naming_full_disk
from uq4ct.model_store.token_batch import EncodedQuestion
from uq4ct.training.data.batches import TrainingQuestion

_TOKEN = np.dtype([("token", np.int32), ("position", np.int32), ("branch", np.int8), ("is_option", np.bool_)])
_AT_ONCE = 1 << 20  # bytes of tokens that are written together


class TrainingSet(Sequence[TrainingQuestion]):
    """Training questions, built when asked for; the file with their tokens disappears with the process.

    `lengths` int32 [N] counts each question's tokens; `held_out` [N] is 1 for questions that only the calibration loss
    uses.
    """

    def __init__(self, questions: Iterable[TrainingQuestion], folder: Path | None = None) -> None:
        """Read the questions one by one and write their tokens to a file in `folder`, by default a temporary one."""
        self.lengths = array("i")
        self.held_out = bytearray()
        self._options = bytearray()
        self._answers = bytearray()
        self._tokens = _write_tokens(map(self._note, questions), folder)
        self._ends = np.cumsum(np.frombuffer(self.lengths, np.int32), dtype=np.int64)

    def _note(self, question: TrainingQuestion) -> EncodedQuestion:
        """Keep everything but the tokens."""
        self.lengths.append(question.encoded.length)
        self.held_out.append(question.held_out)
        self._options.append(question.encoded.options)
        self._answers.append(question.answer)
        return question.encoded

    @property
    def encoded(self) -> Sequence[EncodedQuestion]:
        """The questions without their answers."""
        return _EncodedQuestions(self)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> TrainingQuestion: ...

    @overload
    def __getitem__(self, index: slice) -> list[TrainingQuestion]: ...

    def __getitem__(self, index: int | slice) -> TrainingQuestion | list[TrainingQuestion]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        end = int(self._ends[index])
        tokens = self._tokens[end - self.lengths[index] : end]
        columns: dict[str, Any] = {name: tuple(tokens[name].tolist()) for name in _TOKEN.names or ()}
        encoded = EncodedQuestion(
            tokens=columns["token"],
            positions=columns["position"],
            branches=columns["branch"],
            is_option=columns["is_option"],
            options=self._options[index],
        )
        return TrainingQuestion(encoded, self._answers[index], bool(self.held_out[index]))


class _EncodedQuestions(Sequence[EncodedQuestion]):
    """The encoded questions of a set, built when asked for."""

    def __init__(self, questions: TrainingSet) -> None:
        self._questions = questions

    def __len__(self) -> int:
        return len(self._questions)

    @overload
    def __getitem__(self, index: int) -> EncodedQuestion: ...

    @overload
    def __getitem__(self, index: slice) -> list[EncodedQuestion]: ...

    def __getitem__(self, index: int | slice) -> EncodedQuestion | list[EncodedQuestion]:
        if isinstance(index, slice):
            return [question.encoded for question in self._questions[index]]
        return self._questions[index].encoded


def _write_tokens(questions: Iterable[EncodedQuestion], folder: Path | None) -> np.ndarray:
    """Write the tokens of all questions, one after the other, and map the file."""
    with naming_full_disk(folder or Path(gettempdir())), TemporaryFile(dir=folder) as file:
        for block in _blocks(questions):
            file.write(block.tobytes())  # numpy itself would not say why a write failed
        file.flush()
        if file.tell() == 0:
            return np.empty(0, _TOKEN)
        # A view of the map, because indexing numpy's own class of maps is slow.
        return np.asarray(np.memmap(file, _TOKEN, mode="r"))


def _blocks(questions: Iterable[EncodedQuestion]) -> Iterator[np.ndarray]:
    tokens, positions, branches, is_option = array("i"), array("i"), array("b"), bytearray()
    for question in questions:
        tokens.extend(question.tokens)
        positions.extend(question.positions)
        branches.extend(question.branches)
        is_option.extend(question.is_option)
        if len(tokens) * _TOKEN.itemsize >= _AT_ONCE:
            yield _block(tokens, positions, branches, is_option)
            tokens, positions, branches, is_option = array("i"), array("i"), array("b"), bytearray()
    yield _block(tokens, positions, branches, is_option)


def _block(tokens: array[int], positions: array[int], branches: array[int], is_option: bytearray) -> np.ndarray:
    block = np.empty(len(tokens), _TOKEN)
    block["token"], block["position"] = tokens, positions
    block["branch"], block["is_option"] = branches, np.frombuffer(is_option, np.bool_)
    return block
