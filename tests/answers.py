"""Answers for tests and their form on the wire; a new field of an answer is added only here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from uq4ct.model_store.answers import Answer
from uq4ct.model_store.questions import LABELS

# The Open Inference Protocol's outputs of every model with routers and prediction sets, in order.
DTYPES = {
    "option": "INT64",
    "label": "BYTES",
    "confidence": "FP64",
    "probabilities": "FP64",
    "feu": "FP64",
    "abstain": "BOOL",
    "threshold": "FP64",
    "prediction_set": "BYTES",
    "coverage": "FP64",
    "prediction_id": "BYTES",
}


def make_answer(probabilities: Sequence[float], feu: float | None = None) -> Answer:
    """Return a single-pass answer with these probabilities."""
    option = max(range(len(probabilities)), key=probabilities.__getitem__)
    return Answer(
        option=option,
        confidence=probabilities[option],
        probabilities=tuple(probabilities),
        feu=feu,
        total=-sum(p * math.log(p) for p in probabilities if p > 0),
        aleatoric=None,
        epistemic=None,
    )


def shown(answer: Answer, options: Sequence[str]) -> dict[str, Any]:
    """Return the model's numbers as /predict shows them."""
    return {
        "option": {"index": answer.option, "label": LABELS[answer.option], "text": options[answer.option]},
        "confidence": answer.confidence,
        "probabilities": [
            {"label": label, "probability": probability}
            for label, probability in zip(LABELS, answer.probabilities, strict=False)
        ],
        "feu": answer.feu,
        "uncertainty": {
            "total": answer.total,
            "aleatoric": answer.aleatoric,
            "epistemic": answer.epistemic,
            "error_score": answer.error_score,
        },
    }
