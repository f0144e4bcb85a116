"""/v2: the Open Inference Protocol, version 2, as another form of /predict, /models and /health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.references import NAME_PATTERN
from uq4ct.service.context import Context, ContextOf
from uq4ct.service.http.declarations import NO_KEY, Responses, declare, such_as
from uq4ct.service.http.guards import Scope, guards_of, require
from uq4ct.service.http.handlers import problem_response
from uq4ct.service.http.kinds import (
    ANSWERING,
    ASKING,
    AUTHENTICATED,
    DRAINING,
    FINDING_MODEL,
    FOREIGN_HOST,
    JSON_BODY,
    MEDIA_TYPE,
    MODEL_NOT_LOADED,
    NOT_JSON,
    NOT_READY,
    Kind,
)
from uq4ct.service.http.problems import ProblemError, explain, field_errors, invalid_fields
from uq4ct.service.http.responses import write_in_thread
from uq4ct.service.http.same_origin import comes_from_a_page
from uq4ct.service.http.strict_json import Handler, check_content_type, read_strictly
from uq4ct.service.routes import health, models
from uq4ct.service.routes.answering import answer_items
from uq4ct.service.routes.open_inference.schemas import (
    JSON_ONLY,
    InferError,
    InferRequest,
    InferResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from uq4ct.service.routes.open_inference.tensors import (
    describe_inputs,
    describe_outputs,
    describe_parameters,
    read_questions,
    write_answers,
)
from uq4ct.service.schemas.common import FieldError
from uq4ct.service.schemas.predict import PredictResponse

PLATFORM = "uq4ct"

ModelName = Annotated[
    str, Path(pattern=NAME_PATTERN, description="name of a registered adapter", openapi_examples=such_as("arc-easy"))
]
ModelVersion = Annotated[
    str, Path(pattern=r"^[a-z0-9_-]{1,64}$", description="version or alias", openapi_examples=such_as("3"))
]

_NO_NAME = FieldError(field="name", message=f"String should match pattern '{NAME_PATTERN}'")
_NO_TENSOR = FieldError(field="inputs.question", message="is missing")


def _check_json(request: Request) -> None:
    """Reject binary tensors and, from web pages, bodies of another type.

    Clients of this protocol send JSON with no content type or as application/octet-stream. A page needs the consent of
    the service for application/json only, which it never gets.
    """
    if "inference-header-content-length" in request.headers:
        raise ProblemError(NOT_JSON, JSON_ONLY)
    declared = request.headers.get("content-type")
    if declared not in (None, "application/octet-stream") or comes_from_a_page(request.headers):
        check_content_type(declared)


class OpenInferenceRoute(APIRoute):
    """A route that reads bodies strictly and returns errors in the protocol's form."""

    def get_route_handler(self) -> Handler:
        """Return FastAPI's handler; its exceptions become `{"error": ...}` with the same status as on other routes."""
        handle = super().get_route_handler()
        if "POST" in (self.methods or ()):
            handle = read_strictly(handle, _check_json, list(guards_of(self.dependant)))

        async def handle_and_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                problem = invalid_fields(field_errors(error.errors(), skip=1))
            except Exception as error:
                problem = explain(error)
            return problem_response(problem, request.scope)

        return handle_and_explain


router = APIRouter(prefix="/v2", route_class=OpenInferenceRoute, tags=["open inference protocol"])
_to_read = [Depends(require(Scope.PREDICT))]
_to_ask = [Depends(require(Scope.PREDICT, asks=True))]


def _declare(*kinds: Kind, invalid: FieldError = _NO_NAME) -> Responses:
    """Like `declare`, with the protocol's error object instead of the problem document."""
    return {
        status: {**response, "content": _as_errors(response["content"][MEDIA_TYPE]["examples"]), "model": InferError}
        for status, response in declare(*kinds, invalid=invalid).items()
    }


def _as_errors(problems: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of a response with the examples of problem documents as the protocol's error objects."""
    examples = {slug: {"value": {"error": one["value"]["detail"]}} for slug, one in problems.items()}
    return {"application/json": {"examples": examples}}


_UNKNOWN = _declare(*AUTHENTICATED, *FINDING_MODEL)
_UNREADY = _declare(*AUTHENTICATED, *FINDING_MODEL, MODEL_NOT_LOADED, NOT_READY)
_UNANSWERED = _declare(*AUTHENTICATED, *JSON_BODY, *ASKING, *ANSWERING, invalid=_NO_TENSOR)


@router.get("", responses=_declare(*AUTHENTICATED), dependencies=_to_read)
async def server_metadata(request: Request) -> ServerMetadata:
    """Name and version of the server; it has no extensions, so tensors are JSON."""
    return ServerMetadata(name=request.app.title, version=request.app.version, extensions=[])


@router.get("/health/live", responses=_declare(FOREIGN_HOST), openapi_extra=NO_KEY)
async def server_live() -> ServerLive:
    """Whether the process is running."""
    return ServerLive()


@router.get("/health/ready", responses=_declare(FOREIGN_HOST, NOT_READY, DRAINING), openapi_extra=NO_KEY)
async def server_ready(context: ContextOf) -> ServerReady:
    """Whether a load balancer should send questions here."""
    await health.ready(context)
    return ServerReady()


@router.get("/models/{name}", responses=_UNKNOWN, dependencies=_to_read)
async def model_metadata(context: ContextOf, name: ModelName) -> ModelMetadata:
    """Describe the tensors of a model's production version."""
    return await _metadata(context, name, name)


@router.get("/models/{name}/versions/{version}", responses=_UNKNOWN, dependencies=_to_read)
async def version_metadata(context: ContextOf, name: ModelName, version: ModelVersion) -> ModelMetadata:
    """Describe the tensors of one version of a model."""
    return await _metadata(context, name, f"{name}@{version}")


@router.get("/models/{name}/ready", responses=_UNREADY, dependencies=_to_read)
async def model_ready(context: ContextOf, name: ModelName) -> ModelReady:
    """Whether this replica answers with the production version of a model."""
    return await _ready(context, name, name)


@router.get("/models/{name}/versions/{version}/ready", responses=_UNREADY, dependencies=_to_read)
async def version_ready(context: ContextOf, name: ModelName, version: ModelVersion) -> ModelReady:
    """Whether this replica answers with one version of a model."""
    return await _ready(context, name, f"{name}@{version}")


@router.post("/models/{name}/infer", responses=_UNANSWERED, response_model=InferResponse, dependencies=_to_ask)
async def infer(request: Request, context: ContextOf, name: ModelName, body: InferRequest) -> Response:
    """Answer all questions with the production version of a model; if one fails, answer none."""
    return await _infer(request, context, name, body)


@router.post(
    "/models/{name}/versions/{version}/infer",
    responses=_UNANSWERED,
    response_model=InferResponse,
    dependencies=_to_ask,
)
async def infer_version(
    request: Request, context: ContextOf, name: ModelName, version: ModelVersion, body: InferRequest
) -> Response:
    """Answer all questions with one version of a model; if one fails, answer none."""
    return await _infer(request, context, f"{name}@{version}", body)


async def _metadata(context: Context, name: str, reference: str) -> ModelMetadata:
    card = await models.show_model(context, reference)
    versions, manifest = await models.read_store(context, _stored, context, name, f"{card.name}@{card.version}")
    return ModelMetadata(
        name=name,
        versions=versions,
        platform=PLATFORM,
        inputs=describe_inputs(),
        outputs=describe_outputs(manifest),
        parameters=describe_parameters(),
    )


def _stored(context: Context, name: str, reference: str) -> tuple[list[str], Manifest]:
    """The versions of a name, and the manifest of one of them."""
    versions = [str(version) for other, version in context.adapters.references() if other == name]
    return versions, context.adapters.manifest(reference)


async def _ready(context: Context, name: str, reference: str) -> ModelReady:
    card = await models.show_model(context, reference)
    if not card.loaded:
        raise ProblemError(MODEL_NOT_LOADED, f"{reference} is not loaded on this replica")
    if not card.ready:
        raise ProblemError(NOT_READY, f"{reference} is not answering now", headers={"Retry-After": "1"})
    return ModelReady(name=name)


async def _infer(request: Request, context: Context, reference: str, body: InferRequest) -> Response:
    limit = context.settings.max_client_batch_size
    questions = await run_in_threadpool(read_questions, body, reference, limit)
    answers = _require_all(await answer_items(request, context, questions))
    (model,) = {answer.model for answer in answers}  # resolved once per request
    name, _, version = model.rpartition("@")

    def build() -> InferResponse:
        outputs = write_answers(answers, body.outputs)
        return InferResponse(model_name=name, model_version=version, id=body.id, outputs=outputs)

    return await write_in_thread(build)


def _require_all(outcomes: Sequence[PredictResponse | ProblemError]) -> list[PredictResponse]:
    """Return the answers if every question has one.

    Raises:
        ProblemError: the first problem among the outcomes.
    """
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, ProblemError):
            place = f"question {index}: " if len(outcomes) > 1 else ""
            raise ProblemError(outcome.kind, place + outcome.detail, headers=outcome.headers)
    return [outcome for outcome in outcomes if not isinstance(outcome, ProblemError)]
