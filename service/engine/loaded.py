"""The adapters in memory: which one a reference points to, which are in use, and which is evicted first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.references import PRODUCTION
from uq4ct.service.engine.predictor import Predictor


@dataclass(eq=False, slots=True)
class LoadedAdapter:
    """An adapter in memory and the number of requests that use it; a question holds it until it is answered."""

    predictor: Predictor[Any]
    manifest: Manifest = field(init=False)
    memory_bytes: int = field(init=False)
    company: str | None = field(init=False)  # adapters with the same one can answer one batch; None: only alone
    holders: int = 0  # requests and changes that use it

    def __post_init__(self) -> None:
        self.manifest = self.predictor.manifest
        # Read once: the first is a sum over hundreds of weights, the second the text of a record.
        self.memory_bytes = self.predictor.memory_bytes
        self.company = self.predictor.company

    def can_join(self, other: LoadedAdapter) -> bool:
        """Return whether questions to both can be in one batch."""
        return self is other or (self.company is not None and self.company == other.company)


class LoadedAdapters:
    """The adapters in memory by reference. For the event loop's thread only, so changes without an await are atomic."""

    def __init__(self, default: str) -> None:
        self.default_reference = default
        self._adapters: dict[LoadedAdapter, None] = {}  # least recently used first
        self._references: dict[str, LoadedAdapter] = {}  # name@version and name@alias
        self._released = asyncio.Event()

    def __iter__(self) -> Iterator[LoadedAdapter]:
        """The adapters in memory, least recently used first."""
        return iter(self._adapters)

    @property
    def default(self) -> LoadedAdapter | None:
        """The adapter that answers requests without a model."""
        return self.find(self.default_reference)

    @property
    def memory_bytes(self) -> int:
        """Memory of all adapters, in bytes."""
        return sum(adapter.memory_bytes for adapter in self._adapters)

    def find(self, reference: str | None) -> LoadedAdapter | None:
        """Return the adapter that a reference points to (None: the default), or None if it is not in memory."""
        return self._references.get(full_reference(self.default_reference if reference is None else reference))

    def put(self, adapter: LoadedAdapter) -> None:
        """Add a loaded adapter under its name@version."""
        self._adapters[adapter] = None
        self._references[adapter.manifest.reference] = adapter

    def point(self, reference: str, adapter: LoadedAdapter) -> None:
        """Point a name@alias to this adapter.

        Raises:
            KeyError: the adapter is not in memory.
        """
        if adapter not in self._adapters:
            raise KeyError(adapter.manifest.reference)
        self._references[full_reference(reference)] = adapter

    def drop(self, adapter: LoadedAdapter) -> None:
        """Remove an adapter and every reference to it; its holders can still use it."""
        del self._adapters[adapter]
        self._references = {name: other for name, other in self._references.items() if other is not adapter}

    def aliases(self) -> Sequence[str]:
        """Return every name@alias that points to an adapter in memory."""
        return [name for name, adapter in self._references.items() if name != adapter.manifest.reference]

    @contextmanager
    def holding(self, adapters: Sequence[LoadedAdapter]) -> Iterator[None]:
        """Hold adapters in memory during the block and mark them as recently used."""
        for adapter in adapters:
            adapter.holders += 1
            if adapter in self._adapters:
                self._adapters[adapter] = self._adapters.pop(adapter)
        try:
            yield
        finally:
            for adapter in adapters:
                adapter.holders -= 1
            self._released.set()

    def least_recently_used(self) -> LoadedAdapter | None:
        """Return the adapter to evict next: neither the default nor one in use."""
        idle = (adapter for adapter in self._adapters if adapter is not self.default and not adapter.holders)
        return next(idle, None)

    async def wait_for_release(self) -> None:
        """Return when a holder releases an adapter."""
        self._released.clear()
        await self._released.wait()


def full_reference(reference: str) -> str:
    """Return a reference with an alias or version: a bare name gets the production alias."""
    return reference if "@" in reference else f"{reference}@{PRODUCTION}"
