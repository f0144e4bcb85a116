"""Stored adapters by name, version and alias: publish, resolve, load, survey, promote, verify, delete."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from torch import Tensor

from uq4ct.model_store.environment import read_variable
from uq4ct.model_store.storage.aliases import read_aliases, write_aliases
from uq4ct.model_store.storage.checkpoint import (
    StoredAdapter,
    read_checkpoint,
    read_manifest,
    read_stored,
    write_checkpoint,
)
from uq4ct.model_store.storage.durable_files import replace_file, sync_directory
from uq4ct.model_store.storage.entries import START, WHOLE_NAME, DamagedEntry, ListedVersion, Place, RegistryEntry
from uq4ct.model_store.storage.errors import (
    AliasedVersionError,
    CorruptFileError,
    FileError,
    InvalidReferenceError,
    MisplacedAdapterError,
    MissingFileError,
    UnknownAdapterError,
    UnreadableFileError,
)
from uq4ct.model_store.storage.manifest import MANIFEST_FILE, Manifest, ManifestDraft
from uq4ct.model_store.storage.promotions import PromotionEntry, read_promotions, record_promotion
from uq4ct.model_store.storage.references import ALIAS, NAME, PRODUCTION, VERSION
from uq4ct.model_store.storage.summaries import Summaries

COUNTER_FILE = "last_version"
_MOST_COUNTER_BYTES = 1024


class Registry:
    """The adapters in one directory; safe with several threads and processes, and after a crash at any point.

    A reference is `name` (its production version), `name@3` or `name@alias`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._summaries = Summaries()

    def publish(
        self,
        draft: ManifestDraft,
        tensors: Mapping[str, Tensor],
        attachments: Mapping[str, bytes],
        *,
        promote: bool,
    ) -> Manifest:
        """Store a new version; it becomes production if `promote` is set or the name has no production version yet.

        Raises:
            InvalidAttachmentError: an attachment's name is reserved or not a plain file name; then nothing is stored.
        """
        folder = self._folder(draft.name)
        version = self._claim_version(draft.name)
        staging = folder / f".publishing-{secrets.token_hex(8)}"
        staging.mkdir()
        try:
            manifest = write_checkpoint(staging, draft, version, tensors, attachments)
            staging.rename(folder / str(version))
        except BaseException:
            shutil.rmtree(staging)
            raise
        sync_directory(folder)
        with self._locked(draft.name):
            if promote or PRODUCTION not in self._aliases(draft.name):
                self._point(draft.name, PRODUCTION, version)
        return manifest

    def resolve(self, reference: str) -> tuple[str, int]:
        """Return the name and version that a reference points to now.

        Raises:
            InvalidReferenceError: the reference is malformed.
            UnknownAdapterError: nothing of that name, version or alias is stored; the message says what is.
        """
        name, _, selector = reference.partition("@")
        self._folder(name)
        if "@" not in reference:
            selector = PRODUCTION
        if VERSION.fullmatch(selector):
            version = int(selector)
        elif ALIAS.fullmatch(selector):
            version = self._aliases(name).get(selector)
        else:
            raise InvalidReferenceError(f"{reference!r}: a version or an alias must follow the @, not {selector!r}")
        if version is None or version not in self._versions(name):
            raise self._unknown(name, reference)
        return name, version

    def load(self, reference: str) -> StoredAdapter:
        """Read a version and check every file against its digest.

        Raises:
            InvalidReferenceError, UnknownAdapterError: as `resolve`.
            FileError: a file is missing, unknown, changed, of a newer format or in the wrong place.
        """
        name, version = self.resolve(reference)
        stored = read_checkpoint(self._directory(name, version))
        self._check_place(stored.manifest, name, version)
        return stored

    def manifest(self, reference: str) -> Manifest:
        """Read the manifest of a version without its weights; raises as `load`."""
        return self._manifest(*self.resolve(reference))

    def verify(self, reference: str) -> None:
        """Check every file of a version; raises as `load`."""
        self.load(reference)

    def references(self) -> Sequence[tuple[str, int]]:
        """Return the name and version of everything stored, in order; opens no manifest.

        A name whose directory cannot be read has no versions here; `survey` shows it.
        """
        return [(name, version) for name in self._names() for version in self._readable_versions(name)]

    def entry(self, reference: str) -> RegistryEntry:
        """Return one stored version without its weights; raises as `load`."""
        name, version = self.resolve(reference)
        return RegistryEntry(name, version, self._aliases_of(name, version), self._manifest(name, version))

    def survey(
        self, after: Place = START, limit: int | None = None, part: str = ""
    ) -> Sequence[ListedVersion | DamagedEntry]:
        """Return what is stored after a place, at most `limit` entries, including damaged versions.

        Only names that contain `part` are read. The order is by name and version. A version that was listed before is
        read again only if its files changed.
        """
        return list(islice(self._entries(after, part), limit))

    def promote(self, name: str, version: int, alias: str = PRODUCTION) -> None:
        """Point an alias at a stored version; readers see the old target or the new, never none.

        Raises:
            InvalidReferenceError: the name or the alias is malformed.
            UnknownAdapterError: the version is not stored.
        """
        if not ALIAS.fullmatch(alias):
            raise InvalidReferenceError(f"alias {alias!r} does not match {ALIAS.pattern}")
        with self._locked(name):
            if version not in self._versions(name):
                raise self._unknown(name, f"{name}@{version}")
            self._point(name, alias, version)

    def aliases(self, name: str) -> dict[str, int]:
        """Return the version that each alias of a name points to now.

        Raises:
            InvalidReferenceError: the name is malformed.
            UnknownAdapterError: nothing of that name is stored.
            UnreadableFileError, CorruptFileError: the message names the file.
        """
        if not self._folder(name).is_dir():
            raise self._unknown(name, name)
        return self._aliases(name)

    def promotions(self, name: str) -> Sequence[PromotionEntry]:
        """Return how the aliases of a name were changed, oldest first, at most the last thousand changes.

        Raises:
            InvalidReferenceError: the name is malformed.
            UnreadableFileError, CorruptFileError: the message names the file.
        """
        return read_promotions(self._folder(name))

    def delete(self, reference: str) -> None:
        """Remove a version; its number is never used again.

        Raises:
            InvalidReferenceError, UnknownAdapterError: as `resolve`.
            AliasedVersionError: an alias points at it.
        """
        name, version = self.resolve(reference)
        doomed = self._folder(name) / f".deleting-{secrets.token_hex(8)}"
        with self._locked(name):
            aliases = self._aliases_of(name, version)
            if aliases:
                raise AliasedVersionError(f"{name}@{version} is {', '.join(aliases)}; promote another version first")
            if version not in self._versions(name):
                raise self._unknown(name, reference)
            # Hidden in one step, so that a half-deleted version is never listed.
            self._directory(name, version).rename(doomed)
        shutil.rmtree(doomed)

    def _entries(self, after: Place, part: str) -> Iterator[ListedVersion | DamagedEntry]:
        for name in self._names():
            if name < after[0] or part not in name:
                continue
            try:
                versions = self._versions(name)
            except UnreadableFileError as error:
                if (name, WHOLE_NAME) > after:
                    yield DamagedEntry(name, None, (), error)
                continue
            yield from self._entries_of(name, [version for version in versions if (name, version) > after])

    def _entries_of(self, name: str, versions: Sequence[int]) -> Iterator[ListedVersion | DamagedEntry]:
        """Yield versions of one name, except those deleted since the directory was read."""
        damage, aliases = None, dict[int, list[str]]()
        try:
            for alias, version in sorted(self._aliases(name).items() if versions else ()):
                aliases.setdefault(version, []).append(alias)
        except FileError as error:
            damage = error
        for version in versions:
            known, directory = tuple(aliases.get(version, ())), self._directory(name, version)
            try:
                if damage is not None:
                    raise damage
                summary = self._summaries.get(directory, partial(self._manifest, name, version))
                yield ListedVersion(name, version, known, summary)
            except FileError as error:
                if os.path.lexists(directory):
                    yield DamagedEntry(name, version, known, error)

    def _folder(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise InvalidReferenceError(f"name {name!r} does not match {NAME.pattern}")
        return self.root / name

    def _directory(self, name: str, version: int) -> Path:
        return self._folder(name) / str(version)

    def _names(self) -> Sequence[str]:
        return sorted(name for name in _directories(self.root) if NAME.fullmatch(name))

    def _versions(self, name: str) -> Sequence[int]:
        """Return the versions of a name, including those that cannot be read; raises UnreadableFileError."""
        folder = self._folder(name)
        try:
            return sorted(int(version) for version in _directories(folder) if VERSION.fullmatch(version))
        except OSError as error:
            raise UnreadableFileError(folder, error) from error

    def _readable_versions(self, name: str) -> Sequence[int]:
        try:
            return self._versions(name)
        except UnreadableFileError:
            return []

    def _manifest(self, name: str, version: int) -> Manifest:
        manifest = read_manifest(self._directory(name, version))
        self._check_place(manifest, name, version)
        return manifest

    def _check_place(self, manifest: Manifest, name: str, version: int) -> None:
        if (manifest.name, manifest.version) != (name, version):
            path = self._directory(name, version) / MANIFEST_FILE
            raise MisplacedAdapterError(path, f"is the manifest of {manifest.reference}, not of {name}@{version}")

    def _claim_version(self, name: str) -> int:
        """Claim the next version; recorded before use, so that no number is used twice after a crash or delete."""
        self._folder(name).mkdir(parents=True, exist_ok=True)
        sync_directory(self.root)
        with self._locked(name):
            # The directories count too: a store may have been copied without its `last_version`.
            version = max([self._last_version(name), *self._versions(name)]) + 1
            replace_file(self._folder(name) / COUNTER_FILE, f"{version}\n".encode())
        return version

    def _last_version(self, name: str) -> int:
        path = self._folder(name) / COUNTER_FILE
        try:
            content = read_stored(path, _MOST_COUNTER_BYTES).decode("utf-8", errors="replace").strip()
        except MissingFileError:
            return 0
        if not VERSION.fullmatch(content):
            raise CorruptFileError(path, f"must hold the last version given out, not {content[:80]!r}")
        return int(content)

    def _point(self, name: str, alias: str, version: int) -> None:
        """Point an alias to a version; recorded before, so that a full disk changes nothing without a record."""
        aliases, folder = self._aliases(name), self._folder(name)
        if aliases.get(alias) != version:
            record_promotion(folder, alias, version, aliases.get(alias))
            write_aliases(folder, {**aliases, alias: version})

    def _aliases(self, name: str) -> dict[str, int]:
        return read_aliases(self._folder(name))

    def _aliases_of(self, name: str, version: int) -> tuple[str, ...]:
        return tuple(sorted(alias for alias, target in self._aliases(name).items() if target == version))

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold the name's lock for a short read-and-write; readers need none. The system frees it after a crash."""
        folder = self._folder(name)
        if not folder.is_dir():
            raise self._unknown(name, name)
        with (folder / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _unknown(self, name: str, reference: str) -> UnknownAdapterError:
        stored = self.references()
        versions = [version for other, version in stored if other == name]
        aliases = [alias for alias, target in self._aliases(name).items() if target in versions]
        known = (
            [f"{name}@{selector}" for selector in (*versions, *sorted(aliases))]
            or sorted({other for other, _ in stored})
            or ["nothing"]
        )
        return UnknownAdapterError(f"no adapter {reference!r} is stored; the store has {', '.join(known)}")


def _directories(folder: Path) -> Iterator[str]:
    """Yield the names of the directories and links in a folder; none if there is no such folder.

    Links are not followed: one that leads nowhere, or in a circle, must be shown as damaged.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink() or entry.is_dir(follow_symlinks=False):
                    yield entry.name
    except (FileNotFoundError, NotADirectoryError):
        return


def default_store_dir() -> Path:
    """Return the default store: UQ4CT_MODEL_STORE_DIR, else a folder of the working directory."""
    return Path(read_variable("MODEL_STORE_DIR") or "model_store/artifacts/adapters")
