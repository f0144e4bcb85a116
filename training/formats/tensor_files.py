"""Read the named tensors of a foreign checkpoint: no code is run, and no more is read than the file holds."""

from __future__ import annotations

import hashlib
import os
import pickletools
import re
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.regular_files import MEBIBYTE, open_regular, reason_of

SAFETENSORS_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"
_ALLOWED = re.compile(  # what `torch.save` writes for a mapping of tensors, as module and name
    r"collections OrderedDict|torch\._utils (_rebuild_tensor_v2|_rebuild_parameter)"
    r"|torch \w+Storage"
)
MOST_PICKLE_BYTES = 4 * MEBIBYTE  # of the names and shapes in a .bin; a tensor takes about 200 bytes


class FormatError(UserError, ValueError):
    """A foreign checkpoint that cannot be read, or that needs something that our adapters do not support."""


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a safetensors file or a `.bin`, mapped from the disk, and the digest of the file.

    Raises:
        FormatError: the file cannot be read, contains anything but named tensors, or declares more than it holds.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            tensors = load_file(path) if path.name == SAFETENSORS_FILE else _read_pickle(path)
            _check(path, tensors, size)
            return tensors, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {reason_of(error)}") from error
    except SafetensorError as error:
        raise FormatError(f"{path} cannot be read: {error}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    _check_archive(path)
    try:
        # weights_only: a pickle could run code; this builds only tensors.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged pickle raises anything, from KeyError to TypeError
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FormatError(f"{path} cannot be read: {reason}") from error


def _check_archive(path: Path) -> None:
    """Reject a `.bin` that could unpack to more than its size, or whose pickle asks for more than tensors.

    `torch.save` writes a zip archive without compression. Compressed data could unpack to a thousand times their size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (record,) = _checked_entries(path, archive)
            _check_pickle(path, archive.read(record))
    except (FormatError, OSError):
        raise
    except Exception as error:  # a damaged archive raises anything, from BadZipFile to struct.error
        raise FormatError(
            f"{path} cannot be read: it is not a zip archive as torch.save has written it since PyTorch 1.6"
        ) from error


def _checked_entries(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the entries of pickles after checking the sizes that the archive's directory declares."""
    entries, size = archive.infolist(), path.stat().st_size
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            raise FormatError(f"{path} cannot be read: {entry.filename!r} is compressed")
    declared = sum(entry.file_size for entry in entries)
    if declared > size:
        raise FormatError(f"{path} cannot be read: it has {size} bytes and declares {declared}")
    pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
    for entry in pickles:
        if entry.file_size > MOST_PICKLE_BYTES:
            raise FormatError(f"{path} cannot be read: {entry.filename!r} is larger than {MOST_PICKLE_BYTES} bytes")
    return pickles


def _check_pickle(path: Path, data: bytes) -> None:
    """Reject everything that is not needed for a mapping of tensors; `bytearray(10**10)` would be built, too."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL") and not _ALLOWED.fullmatch(str(argument)):
            raise FormatError(f"{path} cannot be read: it asks for {str(argument)[:80]!r}, and only tensors are read")


def _check(path: Path, tensors: object, size: int) -> None:
    """Reject what is no mapping of named tensors, and tensors that show the same bytes of the file many times."""
    if not isinstance(tensors, dict):
        raise FormatError(f"{path} contains something other than named tensors")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise FormatError(f"{path} contains something other than named tensors: {str(name)[:80]!r}")
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if needed > size:
        raise FormatError(f"{path} cannot be read: its tensors need {needed} bytes, but it has {size}")
