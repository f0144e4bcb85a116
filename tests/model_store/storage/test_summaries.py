"""A version that was listed before is read again only if its files changed, and a change is always noticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.manifests import make_draft, make_scores
from uq4ct.model_store.storage import registry as registry_module
from uq4ct.model_store.storage.entries import START, DamagedEntry, ListedVersion
from uq4ct.model_store.storage.errors import CorruptFileError, MisplacedAdapterError, MissingFileError
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.storage.summaries import Summaries

MANIFEST, DIGEST = "manifest.json", "manifest.sha256"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A store with arts@1, facts@1 to facts@3 and quiz@1."""
    store = Registry(tmp_path / "store")
    for name in ("arts", "facts", "facts", "facts", "quiz"):
        store.publish(make_draft(name), {"w": torch.ones(1)}, {}, promote=False)
    return store


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions whose manifests were read since the test began or last cleared it, such as `facts/1`."""
    places: list[str] = []
    own_read = registry_module.read_manifest

    def read_manifest(directory: Path) -> Manifest:
        places.append("/".join(directory.parts[-2:]))
        return own_read(directory)

    monkeypatch.setattr(registry_module, "read_manifest", read_manifest)
    return places


def test_what_was_listed_is_not_read_again(registry: Registry, read: list[str]) -> None:
    first = registry.survey()
    assert read == ["arts/1", "facts/1", "facts/2", "facts/3", "quiz/1"]
    read.clear()
    registry.promote("facts", 2)
    again = registry.survey()
    assert read == []
    assert [entry.aliases for entry in again] == [("production",), (), ("production",), (), ("production",)]
    assert [entry.place for entry in again] == [entry.place for entry in first]


def republish(directory: Path) -> None:
    """Replace the version by one with other scores, as if somebody had deleted it and copied another there."""
    other = Registry(directory.parents[1] / ".other")
    draft = make_draft("facts", scores_after=make_scores(accuracy=0.75))
    for _ in range(2):
        other.publish(draft, {"w": torch.ones(1)}, {}, promote=False)
    shutil.rmtree(directory)
    shutil.copytree(other.root / "facts" / "2", directory)


def edit_in_place(directory: Path) -> None:
    """Change one byte, and set the times of the file back."""
    path = directory / MANIFEST
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"0.81", b"0.82", 1))
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_another_version(directory: Path) -> None:
    shutil.rmtree(directory)
    shutil.copytree(directory.with_name("3"), directory)


def test_a_replaced_version_is_read_again(registry: Registry, read: list[str]) -> None:
    registry.survey()
    read.clear()
    republish(registry.root / "facts" / "2")
    entry = registry.survey()[2]
    assert read == ["facts/2"]
    assert isinstance(entry, ListedVersion)
    assert entry.summary.scores.accuracy == 0.75


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (edit_in_place, CorruptFileError),
        (lambda directory: (directory / DIGEST).write_text("0"), CorruptFileError),
        (lambda directory: (directory / DIGEST).unlink(), MissingFileError),
        (lambda directory: (directory / MANIFEST).unlink(), MissingFileError),
        (lambda directory: os.truncate(directory / MANIFEST, 40), CorruptFileError),
        (replace_by_another_version, MisplacedAdapterError),
    ],
)
def test_damage_is_noticed_after_a_listing(
    registry: Registry, spoil: Callable[[Path], object], error: type[Exception]
) -> None:
    registry.survey()
    spoil(registry.root / "facts" / "2")
    for _ in range(2):
        entries = registry.survey()
        assert [type(entry) for entry in entries].count(DamagedEntry) == 1
        damaged = entries[2]
        assert isinstance(damaged, DamagedEntry)
        assert type(damaged.error) is error


def test_a_deleted_version_is_not_listed_and_a_new_one_is(registry: Registry) -> None:
    registry.survey()
    registry.delete("facts@2")
    registry.publish(make_draft("facts"), {"w": torch.ones(1)}, {}, promote=False)
    assert [entry.place for entry in registry.survey()][1:4] == [("facts", 1), ("facts", 3), ("facts", 4)]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
def test_pages_are_the_listing_in_pieces(registry: Registry, limit: int) -> None:
    (registry.root / "loop").symlink_to("loop")  # a name that cannot be read is an entry, too
    (registry.root / "facts" / "3" / MANIFEST).unlink()
    whole, pages, after = [entry.place for entry in registry.survey()], list[tuple[str, int]](), START
    assert whole[4:] == [("loop", 0), ("quiz", 1)]
    while page := registry.survey(after, limit):
        assert len(page) <= limit
        after = page[-1].place
        pages += [entry.place for entry in page]
    assert pages == whole


def test_a_page_reads_its_own_versions_alone(registry: Registry, read: list[str]) -> None:
    assert [entry.place for entry in registry.survey(("facts", 1), 2)] == [("facts", 2), ("facts", 3)]
    assert read == ["facts/2", "facts/3"]


def test_the_summaries_in_memory_are_bounded_and_the_last_used_stay(registry: Registry, read: list[str]) -> None:
    kept = Summaries(limit=2)

    def get(version: int) -> None:
        kept.get(registry.root / "facts" / str(version), lambda: registry.manifest(f"facts@{version}"))

    for version in (1, 2, 1, 3, 1, 2):
        get(version)
    assert read == ["facts/1", "facts/2", "facts/3", "facts/2"]


def test_several_threads_get_the_same_listing(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as pool:
        listings = list(pool.map(lambda _: registry.survey(), range(40)))
    assert all(listing == listings[0] for listing in listings)
