"""Requests and responses of the Open Inference Protocol, version 2 (HTTP with JSON tensors)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from uq4ct.service.routes.open_inference.outputs import OUTPUTS, Datatype, OutputName
from uq4ct.service.schemas.common import AS_WHOLE, Body, is_none
from uq4ct.service.schemas.predict import AbstainBelow, Coverage, Task

InputName = Literal["question", "options", "context"]
JSON_ONLY = "binary tensor data is not supported; send the tensors as JSON (Triton's client: binary_data=False)"


def _check_encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("contains a lone surrogate") from error
    return text


EncodableText = Annotated[str, AfterValidator(_check_encodable)]
Size = Annotated[int, Field(strict=True, ge=1), AS_WHOLE]


class ServerMetadata(Body):
    """Name and version of the server."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Body):
    """The process is running."""

    live: Literal[True] = True


class ServerReady(Body):
    """The replica accepts questions."""

    ready: Literal[True] = True


class ModelReady(Body):
    """The model answers on this replica."""

    name: str
    ready: Literal[True] = True


class TensorParameters(Body):
    """A description of a tensor beyond its datatype and shape."""

    description: str


class TensorMetadata(Body):
    """One input or output; a size of -1 depends on the request."""

    name: str
    datatype: str
    shape: list[int]
    parameters: TensorParameters


class ModelMetadata(Body):
    """The inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, str] = Field(
        description="the `parameters` that a request may contain, with their descriptions"
    )


class InputParameters(Body):
    """How the texts of an input are encoded."""

    content_type: Literal["str"] | None = None


class InferInput(Body):
    """One input tensor: N texts."""

    name: InputName
    shape: list[Size] = Field(min_length=1, max_length=1)
    datatype: Literal["BYTES"]
    parameters: InputParameters | None = None
    data: list[str] = Field(fail_fast=True, json_schema_extra={"minItems": 1})

    @model_validator(mode="before")
    @classmethod
    def _refuse_binary_data(cls, record: Any) -> Any:
        match record:
            case {"parameters": {"binary_data_size": _}}:
                raise PydanticCustomError("binary_data", JSON_ONLY)
        return record


class OutputParameters(Body):
    """The requested form of an output; it is sent as JSON either way."""

    binary_data: StrictBool | None = None


class RequestedOutput(Body):
    """One output that the client requests."""

    name: OutputName
    parameters: OutputParameters | None = None


class InferParameters(Body):
    """Parameters of all questions of a request."""

    abstain_below: AbstainBelow = None
    coverage: Coverage = None
    task: Task = None
    binary_data_output: StrictBool | None = Field(
        default=None, description="requested form of the outputs; they are sent as JSON either way"
    )


class InferRequest(Body):
    """N questions as tensors: `question`, `options` and, optionally, `context`."""

    id: EncodableText | None = Field(default=None, description="returned in the response")
    parameters: InferParameters | None = None
    inputs: list[InferInput] = Field(fail_fast=True, json_schema_extra={"minItems": 2, "maxItems": 3})
    outputs: list[RequestedOutput] | None = Field(
        default=None,
        fail_fast=True,
        max_length=len(OUTPUTS),
        description="requested outputs, in this order, each once; null or an empty list = all",
    )


class OutputTensor(Body):
    """One output tensor in row-major order."""

    name: OutputName
    datatype: Datatype
    shape: list[int]
    data: list[str] | list[bool] | list[int] | list[float]


class InferResponse(Body):
    """The answers to all N questions."""

    model_name: str
    model_version: str
    id: str | None = Field(default=None, exclude_if=is_none, description="the id of the request")
    outputs: list[OutputTensor]


class InferError(Body):
    """Why there is no answer."""

    error: str
