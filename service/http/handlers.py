"""Turn exceptions of routes into responses with problem documents."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from uq4ct.service.http.kinds import MEDIA_TYPE, Kind
from uq4ct.service.http.problems import ProblemError, field_errors, invalid_fields, shown

_OPEN_INFERENCE = "/v2"


def problem_response(problem: ProblemError, scope: Scope) -> Response:
    """Return a problem document or, under /v2, the error object of the Open Inference Protocol."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if path == _OPEN_INFERENCE or path.startswith(f"{_OPEN_INFERENCE}/"):
        return JSONResponse({"error": problem.detail}, problem.status_code, problem.headers)
    body = json.dumps(problem.document(scope["state"]["request_id"]).model_dump())
    return Response(body, problem.status_code, problem.headers, MEDIA_TYPE)


def install_handlers(app: FastAPI) -> None:
    """Answer every exception of a route with a problem document."""
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    if isinstance(error, ProblemError):
        return problem_response(error, request.scope)
    if not isinstance(error, HTTPException):
        raise TypeError(f"{type(error).__name__} is not an HTTPException") from error
    # From the router: no such path, or no such method on it.
    kind = Kind(error.detail.lower().replace(" ", "-"), error.status_code, error.detail)
    problem = ProblemError(kind, f"{request.method} {shown(request.url.path)}", headers=_allow_head(error.headers))
    return problem_response(problem, request.scope)


def _allow_head(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Add HEAD to an Allow header with GET: the middleware answers it, so the router does not know it."""
    allowed = [] if headers is None else headers.get("Allow", "").split(", ")
    return {**(headers or {}), "Allow": ", ".join([*allowed, "HEAD"])} if allowed == ["GET"] else headers


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"{type(error).__name__} is not a RequestValidationError") from error
    problem = invalid_fields(field_errors(error.errors(), skip=1))
    return problem_response(problem, request.scope)
