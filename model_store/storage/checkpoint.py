"""One stored version as a directory: weights, manifest and attachments, each file with a digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from uq4ct.model_store.regular_files import MEBIBYTE, read_regular
from uq4ct.model_store.storage.durable_files import sync_directory, write_file
from uq4ct.model_store.storage.errors import (
    CorruptFileError,
    InvalidAttachmentError,
    MissingFileError,
    UnknownFileError,
    UnreadableFileError,
)
from uq4ct.model_store.storage.manifest import (
    ADAPTER_FILE,
    DIGEST_FILE,
    FILE_PATTERN,
    MANIFEST_FILE,
    Manifest,
    ManifestDraft,
    parse_manifest,
)

MOST_MANIFEST_BYTES = 64 * MEBIBYTE  # a manifest has about 60 kB, and the recipe of its run
_MOST_DIGEST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """A published version with every file verified; the tensors are on the CPU."""

    manifest: Manifest
    tensors: dict[str, Tensor]

    @property
    def memory_bytes(self) -> int:
        """Memory of the tensors as they are stored, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def write_checkpoint(
    directory: Path,
    draft: ManifestDraft,
    version: int,
    tensors: Mapping[str, Tensor],
    attachments: Mapping[str, bytes],
) -> Manifest:
    """Write one version into an empty directory and flush it; the manifest is written last.

    The directory is complete only when this returns: `Registry.publish` makes it visible after that.

    Raises:
        InvalidAttachmentError: an attachment has the name of one of the checkpoint's own files, or a path.
        FileExistsError: the directory is not empty.
    """
    files = {ADAPTER_FILE: _write(directory, ADAPTER_FILE, save(_packed(tensors)))}
    for file, data in attachments.items():
        _check_attachment(file)
        files[file] = _write(directory, file, data)
    manifest = Manifest.from_draft(draft, version, files)
    digest = _write(directory, MANIFEST_FILE, manifest.to_json())
    write_file(directory / DIGEST_FILE, _digest_line(digest))
    sync_directory(directory)
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a version and check it against its digest; the other files are not opened.

    Raises:
        MissingFileError, UnreadableFileError, CorruptFileError, NewerFormatError, InvalidManifestError: the message
            names the file.
    """
    path = directory / MANIFEST_FILE
    data = read_stored(path, MOST_MANIFEST_BYTES)
    if read_stored(directory / DIGEST_FILE, _MOST_DIGEST_BYTES) != _digest_line(_digest(data)):
        raise CorruptFileError(path, f"does not match {DIGEST_FILE}: one of the two was changed or truncated")
    return parse_manifest(data, path)


def read_checkpoint(directory: Path) -> StoredAdapter:
    """Read a version and check that every file is as published.

    Raises:
        MissingFileError, UnknownFileError, UnreadableFileError, CorruptFileError, NewerFormatError,
            InvalidManifestError: the message names the file.
    """
    manifest = read_manifest(directory)
    _check_listing(directory, manifest)
    weights = _read_verified(directory / ADAPTER_FILE, manifest.files[ADAPTER_FILE])
    for file in sorted(manifest.files.keys() - {ADAPTER_FILE}):
        _read_verified(directory / file, manifest.files[file])
    try:
        tensors = load(weights)  # the same bytes that were hashed, so that nothing can change in between
    except SafetensorError as error:
        raise CorruptFileError(directory / ADAPTER_FILE, f"is not a safetensors file: {error}") from error
    return StoredAdapter(manifest, tensors)


def _packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Copies, since safetensors rejects views and tensors that share memory.
    return {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _check_attachment(file: str) -> None:
    if not re.fullmatch(FILE_PATTERN, file):
        raise InvalidAttachmentError(f"attachment {file!r} must have a plain file name matching {FILE_PATTERN}")
    if file in (ADAPTER_FILE, MANIFEST_FILE, DIGEST_FILE):
        raise InvalidAttachmentError(f"attachment {file!r} has a name that is reserved for the checkpoint's own file")


def _check_listing(directory: Path, manifest: Manifest) -> None:
    expected = {*manifest.files, MANIFEST_FILE, DIGEST_FILE}
    try:
        present = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise UnreadableFileError(directory, error) from error
    for file in sorted(expected - present):
        raise MissingFileError(directory / file, "is missing, but the manifest lists it")
    for file in sorted(present - expected):
        raise UnknownFileError(directory / file, "is not listed in the manifest")


def _write(directory: Path, file: str, data: bytes) -> str:
    write_file(directory / file, data)
    return _digest(data)


def read_stored(path: Path, limit: int | None = None) -> bytes:
    """Read a file of the store.

    Raises:
        MissingFileError, UnreadableFileError: the message names the file.
    """
    try:
        return read_regular(path, limit)
    except FileNotFoundError as error:
        raise MissingFileError(path, "is missing") from error
    except OSError as error:
        raise UnreadableFileError(path, error) from error


def _read_verified(path: Path, digest: str) -> bytes:
    data = read_stored(path)
    found = _digest(data)
    if found != digest:
        raise CorruptFileError(path, f"was changed or truncated: its SHA-256 is {found}, the manifest says {digest}")
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_line(digest: str) -> bytes:
    """Return the whole content of `manifest.sha256`, in the form that `sha256sum -c` reads."""
    return f"{digest}  {MANIFEST_FILE}\n".encode()
