"""The public data sets that a recipe can name: where they are, and how a row becomes a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from uq4ct.model_store.questions import Question, QuestionError

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HubSetSource:
    """A data set: its repository, the configurations that are read one after the other, and its split names.

    `calibration` is None if no published split is left for it; it is then carved out of train.
    """

    path: str
    names: tuple[str | None, ...]
    convert: Callable[[str, Row], Question]
    train: str = "train"
    calibration: str | None = "validation"
    test: str = "test"

    def calibration_and_test(self, tested: str | None) -> tuple[str | None, str]:
        """Return the published splits for calibration and test, if `tested` (None: the usual one) is the test split.

        Raises:
            ValueError: the answers of that split are not public.
        """
        if tested is None or tested == self.test:
            return self.calibration, self.test
        if self.calibration is None or tested != self.calibration:
            public = self.test if self.calibration is None else f"{self.calibration}, {self.test}"
            raise ValueError(f"test {tested!r} must be a split with public answers: {public}")
        return self.test, self.calibration


def convert_openbookqa(identifier: str, row: Row) -> Question:
    """A row of allenai/openbookqa: question_stem, choices (text, label), answerKey."""
    return _labelled(identifier, row["question_stem"], row)


def convert_arc(identifier: str, row: Row) -> Question:
    """A row of allenai/ai2_arc: question, choices (text, label), answerKey; labels are letters or digits."""
    return _labelled(identifier, row["question"], row)


def convert_commonsenseqa(identifier: str, row: Row) -> Question:
    """A row of tau/commonsense_qa: question, choices (text, label), answerKey."""
    return _labelled(identifier, row["question"], row)


def convert_boolq(identifier: str, row: Row) -> Question:
    """A row of google/boolq: question, passage and a truth value; the options are false and true."""
    if not isinstance(row["answer"], bool):
        raise QuestionError("answer", f"must be true or false, not {row['answer']!r}")
    return Question(
        id=identifier,
        text=row["question"],
        options=("false", "true"),
        context=row["passage"],
        answer=int(row["answer"]),
    )


def convert_mmlu(identifier: str, row: Row) -> Question:
    """A row of cais/mmlu: question, subject, choices, and the index of the right choice."""
    return Question(
        id=identifier,
        text=row["question"],
        options=tuple(row["choices"]),
        answer=int(row["answer"]),
        subject=row["subject"],
    )


def _labelled(identifier: str, text: str, row: Row) -> Question:
    labels = list(row["choices"]["label"])
    if row["answerKey"] not in labels:
        raise QuestionError("answerKey", f"{row['answerKey']!r} is not one of the labels {labels}")
    return Question(
        id=identifier,
        text=text,
        options=tuple(row["choices"]["text"]),
        answer=labels.index(row["answerKey"]),
    )


def _mmlu(*subjects: str) -> HubSetSource:
    # MMLU has no training split: its five examples per subject take its place.
    return HubSetSource("cais/mmlu", subjects, convert_mmlu, train="dev")


# The groups of MMLU subjects are those of the UQ4CT paper, appendix A.6.
HUB_SETS: Mapping[str, HubSetSource] = {
    "openbookqa": HubSetSource("allenai/openbookqa", ("main",), convert_openbookqa),
    "arc_easy": HubSetSource("allenai/ai2_arc", ("ARC-Easy",), convert_arc),
    "arc_challenge": HubSetSource("allenai/ai2_arc", ("ARC-Challenge",), convert_arc),
    # The answers of these two test splits are not public, so the validation split serves as the test split.
    "boolq": HubSetSource("google/boolq", (None,), convert_boolq, calibration=None, test="validation"),
    "commonsenseqa": HubSetSource(
        "tau/commonsense_qa", (None,), convert_commonsenseqa, calibration=None, test="validation"
    ),
    "mmlu_cs": _mmlu(
        "college_computer_science", "computer_security", "high_school_computer_science", "machine_learning"
    ),
    "mmlu_eng": _mmlu("electrical_engineering"),
    "mmlu_law": _mmlu("international_law", "jurisprudence", "professional_law"),
    "mmlu_health": _mmlu(
        "anatomy",
        "clinical_knowledge",
        "college_medicine",
        "human_aging",
        "nutrition",
        "professional_medicine",
        "virology",
    ),
}
