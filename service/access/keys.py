"""API keys as a file holds them: hashes with a tenant and scopes, never the keys themselves."""

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
from uq4ct.model_store.storage.durable_files import replace_file

KEY_PREFIX = "uq4ct_"  # by which scanners for leaked secrets, and people, tell what it is
_OWNER_ONLY = 0o600

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class KeyFileError(UserError, ValueError):
    """A file of keys that cannot be used, or a change that it does not allow; the message never quotes a hash."""


class Scope(enum.StrEnum):
    """What a caller may do; `admin` may do everything."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    ADMIN = "admin"


class KeyRecord(Frozen):
    """One key, known by the SHA-256 digest of its text.

    A single fast hash is right because keys are random tokens of 256 bits that `keys new` makes: there is nothing to
    guess, which is what slow and salted hashes of passwords make expensive.
    """

    id: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    tenant: Name
    expires_at: AwareDatetime | None = None


_RECORDS = TypeAdapter(tuple[KeyRecord, ...])


def hash_key(key: bytes) -> str:
    """The digest by which a key is known, in hexadecimal digits."""
    return hashlib.sha256(key).hexdigest()


def read_keys(path: Path) -> tuple[tuple[KeyRecord, ...], os.stat_result]:
    """The keys of a file, and what the file was when they were read.

    Raises:
        KeyFileError: the file cannot be read, is no list of keys, or holds an id or a hash twice.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())  # before the content: a later change always shows
            content = file.read()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    try:
        records = _RECORDS.validate_json(content)
    except ValidationError as error:
        raise KeyFileError(
            f"{path}: {'; '.join(complaints(error, show_values=False)[:5])}"
        ) from None  # the cause would quote the file
    _check_distinct(path, [record.id for record in records], "id")
    _check_distinct(path, [record.sha256 for record in records], "hash")
    return records, status


def add_key(path: Path, record: KeyRecord) -> None:
    """Add a key to a file, which is made if there is none; safe beside other changes of it.

    Raises:
        KeyFileError: the file cannot be used or not stay its owner's, or knows the id already.
    """
    with _locked(path) as real:
        records = read_keys(real)[0] if real.exists() else ()
        if record.id in {known.id for known in records}:
            raise KeyFileError(f"{path}: there is a key {record.id!r} already; revoke it first, or give another id")
        _write(real, (*records, record))


def revoke_key(path: Path, key_id: str) -> None:
    """Remove a key from a file; safe beside other changes of it.

    Raises:
        KeyFileError: the file cannot be used or not stay its owner's, or knows no such id.
    """
    with _locked(path) as real:
        records, _ = read_keys(real)
        kept = tuple(record for record in records if record.id != key_id)
        if len(kept) == len(records):
            known = ", ".join(record.id for record in records) or "none"
            raise KeyFileError(f"{path}: there is no key {key_id!r}; there is: {known}")
        _write(real, kept)


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Hold the file's lock, and give the file that a link leads to; the system frees the lock after a crash."""
    real = path.resolve()
    try:
        with real.with_name(f".{real.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield real
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error


def _write(path: Path, records: Sequence[KeyRecord]) -> None:
    """A file that is there keeps its owner, group and permissions: by them the server may read it."""
    content = _RECORDS.dump_json(tuple(records), indent=2, exclude_none=True) + b"\n"
    replace_file(path, content, mode=_OWNER_ONLY, like=path.stat() if path.exists() else None)


def _check_distinct(path: Path, values: Sequence[str], kind: str) -> None:
    seen: set[str] = set()
    for position, value in enumerate(values):
        if value in seen:
            raise KeyFileError(f"{path}: {position}: its {kind} stands twice in the file")
        seen.add(value)
