"""Questions and answers as tensors of the Open Inference Protocol, and what its clients are told of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.service.http.problems import TOO_LARGE, ProblemError, invalid_fields
from uq4ct.service.routes.open_inference.schemas import (
    InferInput,
    InferParameters,
    InferRequest,
    OutputTensor,
    RequestedOutput,
    TensorMetadata,
    TensorParameters,
)
from uq4ct.service.schemas.predict import FieldError, PredictRequest, PredictResponse

_NEEDED = ("question", "options")
_INPUTS = (
    ("question", "BYTES", [-1], "N texts, none of them empty"),
    (
        "options",
        "BYTES",
        [-1],
        'for each question one text that is a JSON array of its options, such as ["Oslo", "Paris"]: 2 to 26 distinct '
        "texts, whose number may differ from question to question",
    ),
    ("context", "BYTES", [-1], "optional: for each question a passage that it is about, the empty text for none"),
)
_OUTPUTS = (
    ("option", "INT64", [-1], "position of the chosen option, from 0"),
    ("label", "BYTES", [-1], "letter of the chosen option, from A"),
    ("confidence", "FP64", [-1], "probability of the chosen option"),
    (
        "probabilities",
        "FP64",
        [-1, -1],
        "one row for each question, as wide as the most options of this request; rows of fewer options end in zeros",
    ),
    ("feu", "FP64", [-1], "functional uncertainty: share of routing mass that was kept, high = the routers are sure"),
    (
        "error_score",
        "FP64",
        [-1],
        "high = likely wrong: of adue a probability of error, of mahalanobis a squared distance from the training data",
    ),
    ("abstain", "BOOL", [-1], "do not act on this answer"),
    (
        "threshold",
        "FP64",
        [-1],
        "confidence below which it abstains; there is none where neither the request nor the model sets one",
    ),
    (
        "prediction_set",
        "BYTES",
        [-1],
        'for each question one text that is a JSON array of the labels that stay possible, such as ["A", "C"]',
    ),
    ("coverage", "FP64", [-1], "probability with which such sets hold the right option"),
    ("prediction_id", "BYTES", [-1], "UUID of version 7, ordered by time"),
)


def describe_inputs() -> list[TensorMetadata]:
    """The tensors that a model takes."""
    return [_describe(*row) for row in _INPUTS]


def describe_outputs(manifest: Manifest) -> list[TensorMetadata]:
    """The tensors that a model gives: FEU where it has routers, an error score and sets where it has those."""
    absent: set[str] = set()
    if not manifest.adapter.routed:
        absent.add("feu")
    if not manifest.posterior.has_error_score:
        absent.add("error_score")
    if manifest.decisions.sets is None:
        absent |= {"prediction_set", "coverage"}
    return [_describe(*row) for row in _OUTPUTS if row[0] not in absent]


def describe_parameters() -> dict[str, str]:
    """What a request to a model may say in its `parameters`."""
    return {name: field.description or "" for name, field in InferParameters.model_fields.items()}


def read_questions(body: InferRequest, model: str, limit: int) -> list[PredictRequest]:
    """The questions of a request to a model, each as /predict takes it.

    Raises:
        ProblemError: 422, the tensors do not fit together or hold no options; 413, more than `limit` questions.
    """
    tensors = _by_name(body.inputs)
    count = len(tensors["question"].data)
    for name, tensor in tensors.items():
        if tensor.shape != [len(tensor.data)]:
            _refuse(name, f"the shape is {tensor.shape} and the data have {len(tensor.data)} elements")
        if len(tensor.data) != count:
            _refuse(name, f"{len(tensor.data)} elements for {count} questions")
    if count > limit:
        raise ProblemError(TOO_LARGE, f"{count} questions in a request of at most {limit}", limit=limit)
    options = [_read_options(index, text) for index, text in enumerate(tensors["options"].data)]
    contexts = tensors["context"].data if "context" in tensors else [""] * count
    rows = zip(tensors["question"].data, options, contexts, strict=True)
    asked = body.parameters or InferParameters()
    return [
        PredictRequest(
            question=text,
            options=own,
            context=passage or None,
            model=model,
            abstain_below=asked.abstain_below,
            coverage=asked.coverage,
            task=asked.task,
        )
        for text, own, passage in rows
    ]


def write_answers(answers: Sequence[PredictResponse], wanted: Sequence[RequestedOutput] | None) -> list[OutputTensor]:
    """The answers as the wanted tensors, all of them where none is named.

    Raises:
        ProblemError: 422, a wanted tensor is one that these answers do not have.
    """
    columns = _columns(answers)
    names = [output.name for output in wanted] if wanted else list(columns)
    for index, name in enumerate(names):
        if name not in columns:
            raise invalid_fields(
                [FieldError(field=f"outputs.{index}.name", message="these answers have no such output")]
            )
    kinds = {name: datatype for name, datatype, _, _ in _OUTPUTS}
    rows = len(answers)
    return [
        OutputTensor.model_validate(
            {
                "name": name,
                "datatype": kinds[name],
                "shape": [rows, len(columns[name]) // rows] if name == "probabilities" else [rows],
                "data": columns[name],
            }
        )
        for name in names
    ]


def _describe(name: str, datatype: str, shape: list[int], description: str) -> TensorMetadata:
    parameters = TensorParameters(description=description)
    return TensorMetadata(name=name, datatype=datatype, shape=shape, parameters=parameters)


def _by_name(inputs: Sequence[InferInput]) -> Mapping[str, InferInput]:
    tensors: dict[str, InferInput] = {}
    for tensor in inputs:
        if tensor.name in tensors:
            _refuse(tensor.name, "stands twice")
        tensors[tensor.name] = tensor
    for name in _NEEDED:
        if name not in tensors:
            _refuse(name, "is missing")
    return tensors


def _read_options(index: int, text: str) -> list[str]:
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        _refuse("options", f"element {index} is not a JSON array of texts")
    return options


def _columns(answers: Sequence[PredictResponse]) -> dict[str, list[Any]]:
    width = max(len(answer.probabilities) for answer in answers)
    columns: dict[str, list[Any]] = {
        "option": [answer.option.index for answer in answers],
        "label": [answer.option.label for answer in answers],
        "confidence": [answer.confidence for answer in answers],
        "probabilities": [value for answer in answers for value in _padded(answer, width)],
        "feu": [answer.feu for answer in answers],
        "error_score": [answer.uncertainty.error_score for answer in answers],
        "abstain": [answer.abstain for answer in answers],
        "threshold": [answer.threshold for answer in answers],
        "prediction_set": [_write_set(answer) for answer in answers],
        "coverage": [answer.coverage for answer in answers],
        "prediction_id": [answer.prediction_id for answer in answers],
    }
    return {name: column for name, column in columns.items() if None not in column}


def _padded(answer: PredictResponse, width: int) -> list[float]:
    row = [item.probability for item in answer.probabilities]
    return row + [0.0] * (width - len(row))


def _write_set(answer: PredictResponse) -> str | None:
    return None if answer.prediction_set is None else json.dumps(answer.prediction_set)


def _refuse(name: str, message: str) -> NoReturn:
    raise invalid_fields([FieldError(field=f"inputs.{name}", message=message)])
