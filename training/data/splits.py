"""The four splits of a run, disjoint by the text of their questions.

The calibration split is divided once more: `fit` is for everything that is fitted (temperature, prior precision,
choice of epoch), `guarantee` for what promises a rate (conformal quantiles, abstention thresholds).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from uq4ct.model_store.questions import Question
from uq4ct.training.data.source import DataError
from uq4ct.training.data.stable_hash import fraction_of

Questions = tuple[Question, ...]

FIT_SHARE = 0.5
MESSAGE_IDS = 3
# Generous on purpose: a question taken for another costs one of train, one missed spoils a measurement. What makes
# sums and code different stays: 2*3 is not 2/3, 1.5 is not 15.
_MEANINGFUL = frozenset("-*/%&#@\\.")
_HYPHEN_OR_STOP = re.compile(r"(?<=[^\W\d])-(?=[^\W\d])|(?<!\d)\.|\.(?!\d)")


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
        """`sha256:` and the hexadecimal hash of all records, split by split, in order."""
        digest = sha256()
        for name, questions in self.named():
            digest.update(f"{json.dumps([name, len(questions)])}\n".encode())
            for question in questions:
                digest.update(f"{json.dumps(question.to_record(), sort_keys=True)}\n".encode())
        return f"sha256:{digest.hexdigest()}"

    def select(self, name: str) -> Questions:
        """The questions of a split by its name, or of a shift set by its own.

        Raises:
            DataError: there is no such split, or it is empty.
        """
        named = {"train": self.train, "fit": self.fit, "guarantee": self.guarantee, "test": self.test, **self.shift}
        if not named.get(name):
            present = ", ".join(key for key, questions in named.items() if questions)
            raise DataError(f"split {name!r} is empty or unknown; there are {present}")
        return named[name]

    def named(self) -> list[tuple[str, Questions]]:
        """Every split with its name, the shift sets last and as `shift/<name>`."""
        return [
            ("train", self.train),
            ("fit", self.fit),
            ("guarantee", self.guarantee),
            ("test", self.test),
            *((f"shift/{name}", self.shift[name]) for name in sorted(self.shift)),
        ]


def divide_calibration(questions: Iterable[Question]) -> tuple[Questions, Questions]:
    """`fit` and `guarantee`, about half each; where a question goes depends on its id alone."""
    return _divide(questions, FIT_SHARE, "fit")


def carve_calibration(train: Iterable[Question], share: float) -> tuple[Questions, Questions]:
    """Train without a calibration split of about `share`, and that split; where a question goes depends on its id."""
    calibration, rest = _divide(train, share, "calibration")
    return rest, calibration


def carve_test(train: Iterable[Question], share: float) -> tuple[Questions, Questions]:
    """Train without a test split of about `share`, and that split; where a question goes depends on its id."""
    test, rest = _divide(train, share, "test")
    return rest, test


def remove_leaks(
    train: Questions,
    fit: Questions,
    guarantee: Questions,
    test: Questions,
    shift: Mapping[str, Questions] | None = None,
) -> tuple[Splits, tuple[str, ...]]:
    """The splits without questions that stand in a more precious one, and what was removed from where.

    Test and shift sets stay as published, then come guarantee, fit and train. Two questions are the same if their
    normalised text and context are, whatever their options. Repetitions inside one split stay.

    Raises:
        DataError: a question has no answer or an id stands twice.
    """
    published = Splits(train, fit, guarantee, test, shift or {})
    _check(published)
    taken: dict[str, str] = {}
    for name, questions in published.named():
        if name == "test" or name.startswith("shift/"):
            taken.update((normalise_question(question), name) for question in questions)
    messages: list[str] = []
    kept: dict[str, Questions] = {}
    for name, questions in (("guarantee", guarantee), ("fit", fit), ("train", train)):
        keys = [normalise_question(question) for question in questions]
        kept[name] = tuple(question for question, key in zip(questions, keys, strict=True) if key not in taken)
        messages += _report(name, questions, keys, taken)
        taken.update((key, name) for key in keys if key not in taken)
    return Splits(kept["train"], kept["fit"], kept["guarantee"], test, published.shift), tuple(messages)


def normalise_question(question: Question) -> str:
    """Text and context in the form in which two questions are compared: case, spacing and punctuation go."""
    return f"{_normalise(question.text)}\n{_normalise(question.context or '')}"


def _normalise(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    dashed = "".join("-" if unicodedata.category(char) == "Pd" else char for char in folded)
    kept = [char for char in _HYPHEN_OR_STOP.sub("", dashed) if not _is_ignored(char)]
    return "".join(kept) or "".join(folded.split())


def _is_ignored(char: str) -> bool:
    return char not in _MEANINGFUL and unicodedata.category(char)[0] in "CPZ"  # controls, punctuation, spaces


def _divide(questions: Iterable[Question], share: float, purpose: str) -> tuple[Questions, Questions]:
    inside: list[Question] = []
    outside: list[Question] = []
    for question in questions:
        (inside if fraction_of(purpose, question.id) < share else outside).append(question)
    return tuple(inside), tuple(outside)


def _check(splits: Splits) -> None:
    places: dict[str, str] = {}
    for name, questions in splits.named():
        for question in questions:
            if question.answer is None:
                raise DataError(f"{name}: the question {question.id!r} has no answer")
            if question.id in places:
                raise DataError(
                    f"{name}: the id {question.id!r} stands already in {places[question.id]} (where a file has no ids, "
                    "they are made of its name and the line: give it an id column or another name)"
                )
            places[question.id] = name


def _report(name: str, questions: Questions, keys: list[str], taken: Mapping[str, str]) -> list[str]:
    removed: dict[str, list[str]] = {}
    for question, key in zip(questions, keys, strict=True):
        if key in taken:
            removed.setdefault(taken[key], []).append(question.id)
    return [
        f"{len(ids)} of {len(questions)} questions removed from {name}, as they also stand in {place}: "
        f"{', '.join(ids[:MESSAGE_IDS])}{', ...' if len(ids) > MESSAGE_IDS else ''}"
        for place, ids in removed.items()
    ]
