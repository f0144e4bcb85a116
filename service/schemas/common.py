"""Types shared by all request and response bodies; the classes of this folder define `/openapi.json`."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

REFERENCE_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9_-]{1,64})?$"

Probability = Annotated[float, Field(ge=0, le=1)]
ShortText = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]


def _whole(value: object) -> object:
    """Accept JSON's 3.0 as a whole number, but not true or "3"."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


AS_WHOLE = BeforeValidator(_whole)


def is_none(value: object) -> bool:
    """Whether to omit a field declared with `exclude_if=is_none` from the JSON."""
    return value is None


def show_time(milliseconds: int) -> datetime.datetime:
    """Convert Unix milliseconds to a UTC time."""
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)


class Body(BaseModel):
    """A JSON object with the declared fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FieldError(Body):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(Body):
    """A problem document (RFC 9457)."""

    type: str = Field(description="stable identifier of the kind of problem")
    title: str
    status: int
    detail: str
    request_id: str = Field(description="also in the header X-Request-ID")
    errors: list[FieldError] = Field(default=[], description="the invalid fields, if any")
    tokens: int | None = Field(default=None, exclude_if=is_none, description="number of tokens, if there are too many")
    characters: int | None = Field(
        default=None, exclude_if=is_none, description="number of characters, if there are too many to be tokenised"
    )
    limit: int | None = Field(default=None, exclude_if=is_none, description="the limit that the request exceeds")


class Live(Body):
    """The process is running."""

    status: Literal["live"] = "live"


class Ready(Body):
    """The replica accepts questions."""

    status: Literal["ready"] = "ready"
    model: str = Field(description="name@version of the default model")
