"""A store with thousands of versions, made by copying one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from uq4ct.model_store.storage.manifest import DIGEST_FILE, MANIFEST_FILE
from uq4ct.model_store.storage.registry import Registry


def copy_versions(registry: Registry, name: str, count: int) -> None:
    """Copy version 1 of a name to the versions 2 to `count`; they share the files of its weights."""
    first = registry.root / name / "1"
    files = registry.manifest(f"{name}@1").files
    record = (first / MANIFEST_FILE).read_text("utf-8")
    field = '"version": 1,'
    assert record.count(f"\n  {field}") == 1
    for version in range(2, count + 1):
        folder = first.with_name(str(version))
        folder.mkdir()
        _write(folder, record.replace(f"\n  {field}", f'\n  "version": {version},'))
        for file in files:
            (folder / file).hardlink_to(first / file)


def _write(folder: Path, record: str) -> None:
    content = record.encode()
    (folder / MANIFEST_FILE).write_bytes(content)
    (folder / DIGEST_FILE).write_text(f"{hashlib.sha256(content).hexdigest()}  {MANIFEST_FILE}\n")
