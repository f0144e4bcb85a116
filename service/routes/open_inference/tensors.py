"""Questions and answers as tensors of the Open Inference Protocol, and what its clients are told of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.service.http.kinds import TOO_LARGE
from uq4ct.service.http.problems import ProblemError, invalid_fields
from uq4ct.service.routes.open_inference.outputs import OUTPUTS, Output, OutputName
from uq4ct.service.routes.open_inference.schemas import (
    InferInput,
    InferParameters,
    InferRequest,
    OutputTensor,
    RequestedOutput,
    TensorMetadata,
    TensorParameters,
)
from uq4ct.service.schemas.common import FieldError
from uq4ct.service.schemas.predict import PredictRequest, PredictResponse

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


def describe_inputs() -> list[TensorMetadata]:
    """The tensors that a model takes."""
    return [_describe(*row) for row in _INPUTS]


def describe_outputs(manifest: Manifest) -> list[TensorMetadata]:
    """The tensors that a model gives: FEU where it has routers, an error score and sets where it has those."""
    given = [output for output in OUTPUTS if output.is_given_by(manifest)]
    return [_describe(output.name, output.datatype, list(output.shape), output.description) for output in given]


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
    names: list[OutputName] = [output.name for output in wanted] if wanted else list(columns)
    for index, name in enumerate(names):
        if name not in columns:
            raise invalid_fields(
                [FieldError(field=f"outputs.{index}.name", message="these answers have no such output")]
            )
    outputs: dict[OutputName, Output] = {output.name: output for output in OUTPUTS}
    return [OutputTensor.model_validate(_write_tensor(outputs[name], columns[name])) for name in names]


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


def _columns(answers: Sequence[PredictResponse]) -> dict[OutputName, list[Any]]:
    columns: dict[OutputName, list[Any]] = {
        output.name: [output.value(answer) for answer in answers] for output in OUTPUTS
    }
    return {name: column for name, column in columns.items() if None not in column}


def _write_tensor(output: Output, column: list[Any]) -> dict[str, Any]:
    """One element for each answer, or a row of as many as the longest has."""
    shape, data = [len(column)], column
    if len(output.shape) == 2:
        width = max(len(row) for row in column)
        shape, data = [len(column), width], [value for row in column for value in row + [0.0] * (width - len(row))]
    return {"name": output.name, "datatype": output.datatype, "shape": shape, "data": data}


def _refuse(name: str, message: str) -> NoReturn:
    raise invalid_fields([FieldError(field=f"inputs.{name}", message=message)])
