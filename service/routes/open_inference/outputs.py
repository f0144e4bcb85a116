"""The outputs of a model in the Open Inference Protocol: their tensors and the answer fields that fill them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.service.schemas.predict import PredictResponse

Datatype = Literal["BYTES", "INT64", "FP64", "BOOL"]
OutputName = Literal[
    "option",
    "label",
    "confidence",
    "probabilities",
    "feu",
    "error_score",
    "abstain",
    "threshold",
    "prediction_set",
    "coverage",
    "prediction_id",
]


def _always(_: Manifest) -> bool:
    return True


def _with_sets(manifest: Manifest) -> bool:
    return manifest.decisions.sets is not None


@dataclass(frozen=True, slots=True)
class Output:
    """One output; `value` returns None for an answer without it, and a list if the tensor has two dimensions.

    A size of -1 depends on the request.
    """

    name: OutputName
    datatype: Datatype
    description: str
    value: Callable[[PredictResponse], Any]
    is_given_by: Callable[[Manifest], bool] = _always
    shape: Sequence[int] = (-1,)


def _write_set(answer: PredictResponse) -> str | None:
    return None if answer.prediction_set is None else json.dumps(answer.prediction_set)


OUTPUTS = (
    Output("option", "INT64", "position of the chosen option, from 0", lambda answer: answer.option.index),
    Output("label", "BYTES", "letter of the chosen option, from A", lambda answer: answer.option.label),
    Output("confidence", "FP64", "probability of the chosen option", lambda answer: answer.confidence),
    Output(
        "probabilities",
        "FP64",
        "one row per question, as wide as the most options of any question; rows with fewer options end in zeros",
        lambda answer: [item.probability for item in answer.probabilities],
        shape=(-1, -1),
    ),
    Output(
        "feu",
        "FP64",
        "functional uncertainty: share of routing mass on the chosen experts; high = the routers are confident",
        lambda answer: answer.feu,
        lambda manifest: manifest.adapter.routed,
    ),
    Output(
        "error_score",
        "FP64",
        "high = likely wrong; adue: a probability of error; mahalanobis: a squared distance from the training data",
        lambda answer: answer.uncertainty.error_score,
        lambda manifest: manifest.posterior.has_error_score,
    ),
    Output("abstain", "BOOL", "do not act on this answer", lambda answer: answer.abstain),
    Output(
        "threshold",
        "FP64",
        "confidence below which the model abstains; absent if neither the request nor the model sets one",
        lambda answer: answer.threshold,
    ),
    Output(
        "prediction_set",
        "BYTES",
        'one text per question: a JSON array of the labels that remain possible, such as ["A", "C"]',
        _write_set,
        _with_sets,
    ),
    Output(
        "coverage",
        "FP64",
        "probability that such a set contains the right option",
        lambda answer: answer.coverage,
        _with_sets,
    ),
    Output("prediction_id", "BYTES", "UUID of version 7, ordered by time", lambda answer: answer.prediction_id),
)
