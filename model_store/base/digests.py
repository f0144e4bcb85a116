"""Digests of base models: of one file, and of the files in a folder that decide what a model computes."""

from __future__ import annotations

import hashlib
from pathlib import Path

DIGESTED = ("*.safetensors", "config.json", "tokenizer.json")


def folder_digest(folder: Path) -> str:
    """Return `sha256:` and the digest over the names and digests of the files that decide what a model computes."""
    files = sorted({path for pattern in DIGESTED for path in folder.glob(pattern)})
    lines = "".join(f"{path.name} {file_digest(path)}\n" for path in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
