"""The response body about one replica and the key that asks."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import Field

from uq4ct.service.schemas.common import Body
from uq4ct.service.telemetry.recent import Latency


class QueueView(Body):
    """The questions on this replica that are not answered yet."""

    waiting: int = Field(ge=0, description="admitted questions, including those in a batch")
    limit: int = Field(ge=1, description="above it, questions are rejected")


class LatencyView(Body):
    """How long answered requests took on this replica, in the last 5 minutes, at most the newest 1,000."""

    requests: int = Field(ge=1)
    median_seconds: float = Field(ge=0)
    p95_seconds: float = Field(ge=0, description="95th percentile")

    @classmethod
    def from_latency(cls, latency: Latency) -> LatencyView:
        """Convert a latency."""
        return cls(requests=latency.requests, median_seconds=latency.median, p95_seconds=latency.p95)


class Status(Body):
    """The state of the replica that answers, and what the key may do."""

    version: str = Field(description="of uq4ct")
    started_at: datetime.datetime
    default_model: str | None = Field(description="name@version; null while none is loaded")
    ready: bool = Field(description="whether a load balancer should send questions here")
    queue: QueueView
    latency: LatencyView | None = Field(description="null if no request was answered in that time")
    tenant: str = Field(description="of the key")
    scopes: list[Literal["admin", "feedback", "predict"]] = Field(description="of the key, in alphabetical order")
