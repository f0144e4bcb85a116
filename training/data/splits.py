"""The four splits of a run, disjoint by the text of their questions.

The calibration split is divided once more: `fit` is for everything that is fitted (temperature, prior precision,
choice of epoch), `guarantee` for everything that guarantees a rate (conformal quantiles, abstention thresholds).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from uq4ct.model_store.question_table import QuestionTable
from uq4ct.model_store.questions import Question
from uq4ct.training.data.same_question import key_of
from uq4ct.training.data.source import DataError
from uq4ct.training.data.stable_hash import fraction_of

Questions = Sequence[Question]

FIT_SHARE = 0.5
MESSAGE_IDS = 3


@dataclass(frozen=True, slots=True)
class Splits:
    """Questions by use; `shift` holds further test sets by name."""

    train: Questions
    fit: Questions
    guarantee: Questions
    test: Questions
    shift: Mapping[str, Questions] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """`sha256:` and the hexadecimal hash of all records in order, split by split."""
        digest = sha256()
        for name, questions in self.named():
            digest.update(f"{json.dumps([name, len(questions)])}\n".encode())
            for question in questions:
                digest.update(f"{json.dumps(question.to_record(), sort_keys=True)}\n".encode())
        return f"sha256:{digest.hexdigest()}"

    def select(self, name: str) -> Questions:
        """Return the questions of a split or of a shift set by its name.

        Raises:
            DataError: there is no such split, or it is empty.
        """
        named = {"train": self.train, "fit": self.fit, "guarantee": self.guarantee, "test": self.test, **self.shift}
        if not named.get(name):
            present = ", ".join(key for key, questions in named.items() if questions)
            raise DataError(f"split {name!r} is empty or unknown; available: {present}")
        return named[name]

    def named(self) -> list[tuple[str, Questions]]:
        """Return every split with its name; shift sets come last, as `shift/<name>`."""
        return [
            ("train", self.train),
            ("fit", self.fit),
            ("guarantee", self.guarantee),
            ("test", self.test),
            *((f"shift/{name}", self.shift[name]) for name in sorted(self.shift)),
        ]


def divide_calibration(questions: Iterable[Question]) -> tuple[Questions, Questions]:
    """Return `fit` and `guarantee`, about half each; the division depends on the ids alone."""
    return _divide(questions, FIT_SHARE, "fit")


def carve_calibration(train: Iterable[Question], share: float) -> tuple[Questions, Questions]:
    """Return train without a calibration split of about `share`, and that split; the division depends on ids alone."""
    calibration, rest = _divide(train, share, "calibration")
    return rest, calibration


def carve_test(train: Iterable[Question], share: float) -> tuple[Questions, Questions]:
    """Return train without a test split of about `share`, and that split; the division depends on the ids alone."""
    test, rest = _divide(train, share, "test")
    return rest, test


def remove_leaks(
    train: Questions,
    fit: Questions,
    guarantee: Questions,
    test: Questions,
    shift: Mapping[str, Questions] | None = None,
) -> tuple[Splits, tuple[str, ...]]:
    """Remove questions that also occur in a split of higher priority; return the splits and messages about it.

    Test and shift sets stay as published; then come guarantee, fit and train. Two questions are the same if their
    normalised text and context are equal, whatever their options. Repetitions inside one split stay.

    Raises:
        DataError: a question has no answer, or an id occurs twice.
    """
    published = Splits(train, fit, guarantee, test, shift or {})
    _check(published)
    taken: dict[bytes, str] = {}
    for name, questions in published.named():
        if name == "test" or name.startswith("shift/"):
            taken.update((key_of(question), name) for question in questions)
    messages: list[str] = []
    kept: dict[str, Questions] = {}
    for name, questions in (("guarantee", guarantee), ("fit", fit), ("train", train)):
        own: dict[bytes, str] = {}
        removed: dict[str, list[str]] = {}
        left = array("q")
        for index, question in enumerate(questions):
            key = key_of(question)
            if key in taken:
                removed.setdefault(taken[key], []).append(question.id)
                continue
            left.append(index)
            if name != "train":  # nothing comes after it
                own[key] = name
        kept[name] = select(questions, left)
        messages += _report(name, len(questions), removed)
        taken |= own
    return Splits(kept["train"], kept["fit"], kept["guarantee"], test, published.shift), tuple(messages)


def select(questions: Questions, indices: Sequence[int]) -> Questions:
    """Return the questions at these indices, as a table if they are in one."""
    if isinstance(questions, QuestionTable):
        return questions.select(indices)
    return tuple(questions[index] for index in indices)


def _divide(questions: Iterable[Question], share: float, purpose: str) -> tuple[Questions, Questions]:
    known = questions if isinstance(questions, QuestionTable) else tuple(questions)
    inside, outside = array("q"), array("q")
    for index, question in enumerate(known):
        (inside if fraction_of(purpose, question.id) < share else outside).append(index)
    return select(known, inside), select(known, outside)


def _check(splits: Splits) -> None:
    if _is_sound(splits):
        return
    places: dict[str, str] = {}
    for name, questions in splits.named():
        for question in questions:
            if question.answer is None:
                raise DataError(f"{name}: the question {question.id!r} has no answer")
            if question.id in places:
                raise DataError(
                    f"{name}: the id {question.id!r} already occurs in {places[question.id]} (a file without ids gets "
                    "them from its name and the line numbers: add ids or rename the file)"
                )
            places[question.id] = name


def _is_sound(splits: Splits) -> bool:
    """Whether every question has an answer and no two ids have the same hash, which takes 8 bytes an id."""
    hashes = array("q")
    for _, questions in splits.named():
        for question in questions:
            if question.answer is None:
                return False
            hashes.append(hash(question.id))
    return len(np.unique(np.frombuffer(hashes, np.int64))) == len(hashes)


def _report(name: str, total: int, removed: Mapping[str, list[str]]) -> list[str]:
    return [
        f"{len(ids)} of {total} questions removed from {name} because they also occur in {place}: "
        f"{', '.join(ids[:MESSAGE_IDS])}{', ...' if len(ids) > MESSAGE_IDS else ''}"
        for place, ids in removed.items()
    ]
