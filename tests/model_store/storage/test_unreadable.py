"""A version that cannot be read is listed as damaged with the reason, and all others work."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.manifests import make_draft
from uq4ct.model_store.regular_files import read_regular
from uq4ct.model_store.storage.checkpoint import MOST_MANIFEST_BYTES
from uq4ct.model_store.storage.entries import DamagedEntry, ListedVersion
from uq4ct.model_store.storage.errors import (
    FileError,
    InvalidManifestError,
    MissingFileError,
    UnreadableFileError,
)
from uq4ct.model_store.storage.registry import Registry

Spoil = Callable[[Path], Any]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A store with facts@1 to facts@3 and quiz@1."""
    registry = Registry(tmp_path / "store")
    for name in ("facts", "facts", "facts", "quiz"):
        registry.publish(make_draft(name), {"value": torch.zeros(1)}, {}, promote=False)
    return registry


def write_signed(directory: Path, manifest: bytes) -> None:
    """Write a manifest together with its digest."""
    (directory / "manifest.json").write_bytes(manifest)
    (directory / "manifest.sha256").write_text(f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n")


def replace(directory: Path, name: str, make: Callable[[Path], object]) -> None:
    """Replace a file of a version by what `make` makes."""
    (directory / name).unlink()
    make(directory / name)


def make_link_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_huge(path: Path) -> None:
    """Make a file of 8 GiB that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(8 * 2**30)


def make_secret(directory: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """Refuse to open a file, as the system does if it belongs to another user; root may open every file."""
    own_open = os.open

    def refusing(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path) == directory / file:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return own_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)


@pytest.mark.parametrize(
    ("spoil", "kind", "reason"),
    [
        (lambda d: replace(d, "manifest.json", Path.mkdir), UnreadableFileError, "manifest.json: cannot be read: Is"),
        (lambda d: replace(d, "manifest.json", make_link_loop), UnreadableFileError, "cannot be read: Too many levels"),
        (lambda d: replace(d, "manifest.json", os.mkfifo), UnreadableFileError, "cannot be read: Not a regular file"),
        (lambda d: replace(d, "manifest.json", make_huge), UnreadableFileError, "Larger than 67108864 bytes (8589"),
        (lambda d: replace(d, "manifest.json", lambda p: p.symlink_to("nowhere")), MissingFileError, "is missing"),
        (lambda d: replace(d, "manifest.sha256", os.mkfifo), UnreadableFileError, "manifest.sha256: cannot be read"),
        (lambda d: replace(d, "manifest.sha256", make_huge), UnreadableFileError, "manifest.sha256: cannot be read"),
        (lambda d: write_signed(d, b'{"a":' * 100_000), InvalidManifestError, "nested too deeply"),
        (lambda d: write_signed(d, b"[" * 100_000 + b"]" * 100_000), InvalidManifestError, "nested too deeply"),
        (lambda d: write_signed(d, b'{"name": "\xff"}'), InvalidManifestError, "byte 10 is not UTF-8"),
        (lambda d: write_signed(d, b'{"version": ' + b"9" * 5000 + b"}"), InvalidManifestError, "too many digits"),
        (lambda d: write_signed(d, b'{"name": "a", "name": "b"}'), InvalidManifestError, "duplicate key 'name'"),
        (lambda d: write_signed(d, b"\xff\xfe{\x00}\x00"), InvalidManifestError, "not UTF-8"),
        (lambda d: write_signed(d, b""), InvalidManifestError, "is not JSON"),
        (lambda d: (d.rename(d.with_name("x")), make_link_loop(d)), UnreadableFileError, "Too many levels"),
        (lambda d: (d.rename(d.with_name("x")), d.symlink_to("nowhere")), MissingFileError, "is missing"),
    ],
    ids=[
        "directory", "link loop", "pipe", "huge", "dangling link", "digest is a pipe", "digest is huge", "deep objects",
        "deep lists", "not UTF-8", "digits", "duplicate key", "UTF-16", "empty", "version is a link loop",
        "version is a dangling link",
    ],
)  # fmt: skip
def test_one_unreadable_version_is_damaged_and_the_others_work(
    registry: Registry, spoil: Spoil, kind: type[FileError], reason: str
) -> None:
    spoil(registry.root / "facts" / "2")
    check_only_the_second_is_damaged(registry, kind, reason)


def check_only_the_second_is_damaged(registry: Registry, kind: type[FileError], reason: str) -> None:
    entries = registry.survey()
    assert [(entry.name, entry.version) for entry in entries] == [("facts", 1), ("facts", 2), ("facts", 3), ("quiz", 1)]
    first, second, third, other = entries
    assert all(isinstance(entry, ListedVersion) for entry in (first, third, other))
    assert isinstance(second, DamagedEntry)
    assert type(second.error) is kind
    assert reason in str(second.error)
    assert "\n" not in str(second.error)
    assert registry.references() == [("facts", 1), ("facts", 2), ("facts", 3), ("quiz", 1)]
    for ask in (registry.entry, registry.manifest, registry.load):
        with pytest.raises(kind):
            ask("facts@2")
        assert ask("facts@3") is not None
    assert registry.resolve("facts") == ("facts", 1)


def test_a_manifest_of_another_user_is_damaged(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    make_secret(registry.root / "facts" / "2", monkeypatch, "manifest.json")
    check_only_the_second_is_damaged(registry, UnreadableFileError, "manifest.json: cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("make", "reason"),
    [(Path.mkdir, "Is a directory"), (make_link_loop, "Too many levels"), (os.mkfifo, "Not a regular file")],
    ids=["directory", "link loop", "pipe"],
)
def test_unreadable_aliases_concern_their_name_alone(registry: Registry, make: Spoil, reason: str) -> None:
    replace(registry.root / "facts", "aliases.json", make)
    survey = registry.survey()
    damaged = [entry for entry in survey if isinstance(entry, DamagedEntry)]
    assert [(entry.name, entry.version) for entry in damaged] == [("facts", 1), ("facts", 2), ("facts", 3)]
    assert all(f"aliases.json: cannot be read: {reason}" in str(entry.error) for entry in damaged)
    assert isinstance(survey[-1], ListedVersion)
    with pytest.raises(UnreadableFileError, match=reason):
        registry.resolve("facts")
    assert registry.resolve("facts@2") == ("facts", 2)
    assert registry.resolve("quiz") == ("quiz", 1)


def test_weights_and_attachments_that_are_no_files_are_named(registry: Registry) -> None:
    for version, make in ((1, os.mkfifo), (2, make_link_loop), (3, Path.mkdir)):
        replace(registry.root / "facts" / str(version), "adapter.safetensors", make)
        with pytest.raises(UnreadableFileError, match=r"adapter\.safetensors: cannot be read"):
            registry.load(f"facts@{version}")
        assert registry.manifest(f"facts@{version}").version == version


def refuse_to_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to list a directory, as the system does if it belongs to another user."""
    own_scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return own_scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


def test_a_name_of_another_user_is_damaged_as_a_whole(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_list(registry.root / "facts", monkeypatch)
    damaged, other = registry.survey()
    assert isinstance(damaged, DamagedEntry)
    assert (damaged.name, damaged.version, damaged.aliases) == ("facts", None, ())
    assert "facts: cannot be read: Permission denied" in str(damaged.error)
    assert isinstance(other, ListedVersion)
    assert registry.references() == [("quiz", 1)]
    with pytest.raises(UnreadableFileError, match="Permission denied"):
        registry.resolve("facts@1")


def test_a_name_that_is_a_link_loop_is_damaged_as_a_whole(registry: Registry) -> None:
    make_link_loop(registry.root / "loop")
    assert [(entry.name, entry.version) for entry in registry.survey()][-2:] == [("loop", None), ("quiz", 1)]


def test_the_counter_of_versions_must_be_a_file(registry: Registry) -> None:
    replace(registry.root / "facts", "last_version", os.mkfifo)
    with pytest.raises(UnreadableFileError, match="last_version: cannot be read: Not a regular file"):
        registry.publish(make_draft("facts"), {"value": torch.zeros(1)}, {}, promote=False)


def test_a_manifest_may_be_large_but_not_larger(tmp_path: Path) -> None:
    assert MOST_MANIFEST_BYTES == 64 * 2**20
    path = tmp_path / "file"
    path.write_bytes(b"four")
    assert read_regular(path, 4) == b"four"
    assert read_regular(path) == b"four"
    with pytest.raises(OSError, match=r"Larger than 3 bytes \(4\)"):
        read_regular(path, 3)
