"""The base of the service's responses as the client reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from uq4ct.service.client.showing import Shown, shorten


class Record(BaseModel):
    """An immutable part of a response."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        summary = self._summary()
        if summary is not None:
            return [(None, Shown(summary))]
        return [(name, shorten(value)) for name, value in super().__repr_args__()]

    def _summary(self) -> str | None:
        """Return one line that represents a large record; None if its fields are shown."""
        return None
