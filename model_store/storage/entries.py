"""Entries of the store: one version with its manifest, or, in a listing, its summary or why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

from uq4ct.model_store.storage.errors import FileError
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.summaries import Summary

Place = tuple[str, int]  # of an entry in a listing: its name and version
WHOLE_NAME = 0  # in place of the version, of a name that cannot be read
START: Place = ("", WHOLE_NAME)


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One stored version and the aliases that point at it."""

    name: str
    version: int
    aliases: tuple[str, ...]
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """One stored version in a listing."""

    name: str
    version: int
    aliases: tuple[str, ...]
    summary: Summary

    @property
    def place(self) -> Place:
        """The place in the listing."""
        return self.name, self.version


@dataclass(frozen=True, slots=True)
class DamagedEntry:
    """One stored version whose record cannot be read, and why; `version` is None if a whole name cannot be read."""

    name: str
    version: int | None
    aliases: tuple[str, ...]
    error: FileError

    @property
    def place(self) -> Place:
        """The place in the listing."""
        return self.name, WHOLE_NAME if self.version is None else self.version
