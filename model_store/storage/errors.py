"""Errors of stored adapters and of references to them."""

from __future__ import annotations

from pathlib import Path

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.regular_files import reason_of


class StoreError(UserError):
    """Base of every error of the model store."""


class InvalidReferenceError(StoreError, ValueError):
    """A malformed name, version or alias."""


class UnknownAdapterError(StoreError, LookupError):
    """A well-formed reference to something that is not stored."""


class AliasedVersionError(StoreError):
    """A version that cannot be deleted because an alias points at it."""


class InvalidAttachmentError(StoreError, ValueError):
    """An attachment whose file name is reserved or not a plain name."""


class FileError(StoreError):
    """A stored file that cannot be trusted; `path` names it."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class MissingFileError(FileError):
    """A missing file that the manifest lists, or a missing manifest."""


class UnknownFileError(FileError):
    """A file that the manifest does not list."""


class UnreadableFileError(FileError):
    """A file or directory that cannot be read, or is too large; `reason` does not contain the path."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.reason = reason_of(error)
        super().__init__(path, f"cannot be read: {self.reason}")


class CorruptFileError(FileError):
    """A file whose content is not what was published: changed or truncated."""


class InvalidManifestError(FileError):
    """An undamaged manifest whose record is not valid."""


class MisplacedAdapterError(FileError):
    """A version in the directory of another name or number than its manifest says."""


class NewerFormatError(FileError):
    """A manifest of a format that only a newer installation can read."""

    def __init__(self, path: Path, found: int, supported: int) -> None:
        super().__init__(
            path,
            f"has format {found}, but this installation reads formats up to {supported}; upgrade to read this adapter",
        )
        self.found = found
        self.supported = supported
