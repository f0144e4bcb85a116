"""The built-in quiz: questions made from tables of facts, divided so that no fact is in two splits."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from uq4ct.model_store.questions import Question
from uq4ct.training.data.facts.relation import Relation
from uq4ct.training.data.facts.tables import read_table
from uq4ct.training.data.facts.templates import RELATIONS
from uq4ct.training.data.stable_hash import fraction_of, shuffled

TRAIN_SHARE = 0.55
CALIBRATION_SHARE = 0.20  # the rest, 0.25, is test
SHIFT_SUBJECTS = ("anatomy", "translation")


@dataclass(frozen=True, slots=True)
class FactsQuiz:
    """The questions of each split; the subjects of `shift` occur in no other split."""

    train: tuple[Question, ...]
    calibration: tuple[Question, ...]
    test: tuple[Question, ...]
    shift: tuple[Question, ...]


def build(seed: int = 0) -> FactsQuiz:
    """Return the quiz drawn by `seed`: the split of each entity, the wrong options and their order.

    All questions about one entity (a country, an element, an author) are in the same split, in both directions and
    across subjects.
    """
    splits: dict[str, list[Question]] = {"train": [], "calibration": [], "test": [], "shift": []}
    numbers: Counter[str] = Counter()
    for relation in RELATIONS:
        for entity, question in _ask(relation, numbers, seed):
            splits[_split_of(relation.subject, entity, seed)].append(question)
    return FactsQuiz(**{name: tuple(questions) for name, questions in splits.items()})


def _ask(relation: Relation, numbers: Counter[str], seed: int) -> Iterator[tuple[str, Question]]:
    rows = read_table(relation.table)
    for value, found in relation.facts(rows):
        entity = found[0].entity
        draw = (seed, relation.table, relation.asked, relation.answered)
        right, wrong = relation.options(value, found, rows, *draw)
        options = shuffled([right, *wrong], "order", *draw, value)
        stem = f"facts-{_slug(relation.subject)}-{_slug(entity)}"
        yield (
            entity,
            Question(
                id=f"{stem}-{numbers[stem]}",
                text=relation.phrase(value, *draw),
                options=tuple(options),
                answer=options.index(right),
                subject=relation.subject,
            ),
        )
        numbers[stem] += 1


def _split_of(subject: str, entity: str, seed: int) -> str:
    if subject in SHIFT_SUBJECTS:
        return "shift"
    # By entity, not by table: Mercury the planet and mercury the element share a split.
    drawn = fraction_of("split", seed, entity.casefold())
    if drawn < TRAIN_SHARE:
        return "train"
    return "calibration" if drawn < TRAIN_SHARE + CALIBRATION_SHARE else "test"


def _slug(entity: str) -> str:
    plain = unicodedata.normalize("NFKD", entity.casefold()).encode("ascii", "ignore").decode()
    return "-".join("".join(char if char.isalnum() else " " for char in plain).split())
