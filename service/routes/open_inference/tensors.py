"""Questions and answers as tensors of the Open Inference Protocol, and their descriptions for clients."""

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
        'one text per question: a JSON array of its options, such as ["Oslo", "Paris"]; 2 to 26 texts, of which no '
        "two look alike; questions may have different numbers of options",
    ),
    ("context", "BYTES", [-1], "optional: one passage per question that it is about; an empty text means no passage"),
)


def describe_inputs() -> list[TensorMetadata]:
    """Describe the input tensors of a model."""
    return [_describe(*row) for row in _INPUTS]


def describe_outputs(manifest: Manifest) -> list[TensorMetadata]:
    """Describe the output tensors of a model; FEU, error score and sets only if the model has them."""
    given = [output for output in OUTPUTS if output.is_given_by(manifest)]
    return [_describe(output.name, output.datatype, list(output.shape), output.description) for output in given]


def describe_parameters() -> dict[str, str]:
    """Describe the `parameters` that a request may contain."""
    return {name: field.description or "" for name, field in InferParameters.model_fields.items()}


def read_questions(body: InferRequest, model: str, limit: int) -> list[PredictRequest]:
    """Read the questions of a request, each in the form of /predict.

    Raises:
        ProblemError: 422, an output is requested twice, the tensors do not match, or the options are not JSON arrays of
            texts; 413, more than `limit` questions.
    """
    _refuse_repeated_outputs(body.outputs or ())
    tensors = _by_name(body.inputs)
    count = len(tensors["question"].data)
    for name, tensor in tensors.items():
        if tensor.shape != [len(tensor.data)]:
            _refuse(name, f"the shape is {tensor.shape}, but the data has {len(tensor.data)} elements")
        if len(tensor.data) != count:
            _refuse(name, f"has {len(tensor.data)} elements, but there are {count} questions")
    if count > limit:
        raise ProblemError(TOO_LARGE, f"the request has {count} questions (limit: {limit})", limit=limit)
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
    """Return the answers as the requested tensors, or as all tensors if none is requested.

    Raises:
        ProblemError: 422, the answers do not have a requested tensor.
    """
    columns = _columns(answers)
    names: list[OutputName] = [output.name for output in wanted] if wanted else list(columns)
    for index, name in enumerate(names):
        if name not in columns:
            raise invalid_fields([FieldError(field=f"outputs.{index}.name", message="the answers have no such output")])
    outputs: dict[OutputName, Output] = {output.name: output for output in OUTPUTS}
    return [OutputTensor.model_validate(_write_tensor(outputs[name], columns[name])) for name in names]


def _describe(name: str, datatype: str, shape: list[int], description: str) -> TensorMetadata:
    parameters = TensorParameters(description=description)
    return TensorMetadata(name=name, datatype=datatype, shape=shape, parameters=parameters)


def _refuse_repeated_outputs(wanted: Sequence[RequestedOutput]) -> None:
    """Keep a short request from asking for a long response."""
    seen: set[OutputName] = set()
    for index, output in enumerate(wanted):
        if output.name in seen:
            raise invalid_fields([FieldError(field=f"outputs.{index}.name", message=f"{output.name} is given twice")])
        seen.add(output.name)


def _by_name(inputs: Sequence[InferInput]) -> Mapping[str, InferInput]:
    tensors: dict[str, InferInput] = {}
    for tensor in inputs:
        if tensor.name in tensors:
            _refuse(tensor.name, "is given twice")
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
    """Write one element per answer, or one row per answer, padded with zeros to the longest."""
    shape, data = [len(column)], column
    if len(output.shape) == 2:
        width = max(len(row) for row in column)
        shape, data = [len(column), width], [value for row in column for value in row + [0.0] * (width - len(row))]
    return {"name": output.name, "datatype": output.datatype, "shape": shape, "data": data}


def _refuse(name: str, message: str) -> NoReturn:
    raise invalid_fields([FieldError(field=f"inputs.{name}", message=message)])
