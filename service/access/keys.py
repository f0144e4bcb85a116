"""The file of API keys: hashes with a tenant and scopes, never the keys themselves."""

from __future__ import annotations

import enum
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import Frozen, complaints
from uq4ct.model_store.regular_files import open_regular, reason_of
from uq4ct.model_store.storage.durable_files import replace_file

KEY_PREFIX = "uq4ct_"  # lets secret scanners and people recognize a key
_OWNER_ONLY = 0o600
_MOST_BYTES = 16_000_000  # some 80,000 keys

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class KeyFileError(UserError, ValueError):
    """A file of keys that cannot be used, or an invalid change of it; the message never quotes a hash."""


class Scope(enum.StrEnum):
    """What a key allows; `admin` allows everything."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    ADMIN = "admin"


class KeyRecord(Frozen):
    """One key, identified by the SHA-256 digest of its text.

    A single fast hash is enough because `keys new` makes keys of 256 random bits, which cannot be guessed. Slow and
    salted hashes protect passwords, which can be.
    """

    id: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    tenant: Name
    expires_at: AwareDatetime | None = None


_RECORDS = TypeAdapter(tuple[KeyRecord, ...])


def hash_key(key: bytes) -> str:
    """Return the SHA-256 digest of a key, in hexadecimal digits."""
    return hashlib.sha256(key).hexdigest()


def read_keys(path: Path) -> tuple[tuple[KeyRecord, ...], os.stat_result]:
    """Read the keys of a file; also return the file's status at that time.

    Raises:
        KeyFileError: the file cannot be read, is not a list of keys, or contains an id or a hash twice.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())  # before the content, so that a later change is always noticed
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {reason_of(error)}") from error
    if len(content) > _MOST_BYTES:
        raise KeyFileError(f"{path}: must have at most {_MOST_BYTES} bytes")
    try:
        records = _RECORDS.validate_json(content)
    except ValidationError as error:
        raise KeyFileError(
            f"{path}: {'; '.join(complaints(error, show_values=False)[:5])}"
        ) from None  # the cause quotes the file
    _check_distinct(path, [record.id for record in records], "id")
    _check_distinct(path, [record.sha256 for record in records], "hash")
    return records, status


def add_key(path: Path, record: KeyRecord) -> None:
    """Add a key to a file, which is created if missing; safe with concurrent changes.

    Raises:
        KeyFileError: the file cannot be used, cannot keep its owner, or already contains the id.
    """
    with _locked(path) as real:
        records = read_keys(real)[0] if real.exists() else ()
        if record.id in {known.id for known in records}:
            raise KeyFileError(f"{path}: key {record.id!r} already exists; revoke it first, or choose another id")
        _write(real, (*records, record))


def revoke_key(path: Path, key_id: str) -> None:
    """Remove a key from a file; safe with concurrent changes.

    Raises:
        KeyFileError: the file cannot be used, cannot keep its owner, or does not contain the id.
    """
    with _locked(path) as real:
        records, _ = read_keys(real)
        kept = tuple(record for record in records if record.id != key_id)
        if len(kept) == len(records):
            known = ", ".join(record.id for record in records) or "none"
            raise KeyFileError(f"{path}: no key {key_id!r}; existing keys: {known}")
        _write(real, kept)


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Lock the file and yield its path with links resolved; the system releases the lock after a crash."""
    real = path.resolve()
    try:
        with real.with_name(f".{real.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield real
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error


def _write(path: Path, records: Sequence[KeyRecord]) -> None:
    """Replace the file; an existing one keeps its owner, group and permissions, so that the server can read it."""
    content = _RECORDS.dump_json(tuple(records), indent=2, exclude_none=True) + b"\n"
    replace_file(path, content, mode=_OWNER_ONLY, like=path.stat() if path.exists() else None)


def _check_distinct(path: Path, values: Sequence[str], kind: str) -> None:
    seen: set[str] = set()
    for position, value in enumerate(values):
        if value in seen:
            raise KeyFileError(f"{path}: {position}: duplicate {kind}")
        seen.add(value)
