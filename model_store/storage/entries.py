"""Entries of a listing of the store: a stored version, or one with an unreadable record."""

from __future__ import annotations

from dataclasses import dataclass

from uq4ct.model_store.storage.errors import FileError
from uq4ct.model_store.storage.manifest import Manifest


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One stored version and the aliases that point at it."""

    name: str
    version: int
    aliases: tuple[str, ...]
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class DamagedEntry:
    """One stored version whose record cannot be read, and why; `version` is None if a whole name cannot be read."""

    name: str
    version: int | None
    aliases: tuple[str, ...]
    error: FileError
