"""The adapters in memory: which one a reference points to, which are at work, and which is evicted first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import PRODUCTION
from uq4ct.service.engine.predictor import Predictor


@dataclass(eq=False, slots=True)
class LoadedAdapter:
    """One version in memory. A question keeps it from admission to answer, so nothing can be swapped beneath it."""

    predictor: Predictor[Any]
    manifest: Manifest = field(init=False)
    holders: int = 0  # requests and changes that need it to stay

    def __post_init__(self) -> None:
        self.manifest = self.predictor.manifest


class LoadedAdapters:
    """For the event loop's thread only; a change between two awaits is seen whole or not at all."""

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
        """What all of them take."""
        return sum(adapter.predictor.memory_bytes for adapter in self._adapters)

    def find(self, reference: str | None) -> LoadedAdapter | None:
        """The adapter that a reference points to, None for the default; None where it is not in memory."""
        return self._references.get(full_reference(self.default_reference if reference is None else reference))

    def put(self, adapter: LoadedAdapter) -> None:
        """Take in a loaded adapter, under its name@version."""
        self._adapters[adapter] = None
        self._references[adapter.manifest.reference] = adapter

    def point(self, reference: str, adapter: LoadedAdapter) -> None:
        """Make a name@alias point to this adapter.

        Raises:
            KeyError: the adapter is not in memory.
        """
        if adapter not in self._adapters:
            raise KeyError(adapter.manifest.reference)
        self._references[full_reference(reference)] = adapter

    def drop(self, adapter: LoadedAdapter) -> None:
        """Forget an adapter and every reference to it; whoever holds it keeps it."""
        del self._adapters[adapter]
        self._references = {name: other for name, other in self._references.items() if other is not adapter}

    def aliases(self) -> Sequence[str]:
        """Every name@alias that points to an adapter in memory."""
        return [name for name, adapter in self._references.items() if name != adapter.manifest.reference]

    @contextmanager
    def holding(self, adapters: Sequence[LoadedAdapter]) -> Iterator[None]:
        """Keep adapters in memory and count them as used."""
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
        """The adapter to free next: neither the default nor one that is held."""
        idle = (adapter for adapter in self._adapters if adapter is not self.default and not adapter.holders)
        return next(idle, None)

    async def wait_for_release(self) -> None:
        """Return when somebody lets go of an adapter."""
        self._released.clear()
        await self._released.wait()


def full_reference(reference: str) -> str:
    """A reference with its alias or version: a bare name is its production version."""
    return reference if "@" in reference else f"{reference}@{PRODUCTION}"
