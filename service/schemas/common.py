"""What every part of the wire is made of: `/openapi.json` is made of the classes of this folder."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

REFERENCE_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9_-]{1,64})?$"

Probability = Annotated[float, Field(ge=0, le=1)]
ShortText = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]


def _whole(value: object) -> object:
    """JSON's 3.0 is a whole number, too; its true and "3" are none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


AS_WHOLE = BeforeValidator(_whole)


def is_none(value: object) -> bool:
    """Whether a field is left out of the JSON that has `exclude_if=is_none`."""
    return value is None


def show_time(milliseconds: int) -> datetime.datetime:
    """The time of Unix milliseconds."""
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)


class Body(BaseModel):
    """A JSON object with these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FieldError(Body):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(Body):
    """A problem document (RFC 9457)."""

    type: str = Field(description="identifies the kind of problem; stable")
    title: str
    status: int
    detail: str
    request_id: str = Field(description="also in the header X-Request-ID")
    errors: list[FieldError] = Field(default=[], description="the offending fields, where there are any")
    tokens: int | None = Field(default=None, exclude_if=is_none, description="tokens of a question that is too long")
    limit: int | None = Field(default=None, exclude_if=is_none, description="the limit that the request is over")


class Live(Body):
    """The process runs."""

    status: Literal["live"] = "live"


class Ready(Body):
    """The replica takes questions."""

    status: Literal["ready"] = "ready"
    model: str = Field(description="name@version of the default model")
