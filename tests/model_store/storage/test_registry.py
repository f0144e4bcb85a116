from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.manifests import make_draft
from uq4ct.model_store.storage.checkpoint import write_checkpoint
from uq4ct.model_store.storage.entries import DamagedEntry, ListedVersion, RegistryEntry
from uq4ct.model_store.storage.errors import (
    AliasedVersionError,
    CorruptFileError,
    InvalidAttachmentError,
    InvalidReferenceError,
    MisplacedAdapterError,
    MissingFileError,
    NewerFormatError,
    UnknownAdapterError,
)
from uq4ct.model_store.storage.manifest import FORMAT_VERSION, Manifest
from uq4ct.model_store.storage.registry import Registry, default_store_dir
from uq4ct.model_store.storage.summaries import Summary

Publish = Callable[..., Manifest]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "store")


@pytest.fixture
def publish(registry: Registry) -> Publish:
    """Store the next version of a name; its only tensor holds `value`."""

    def _publish(name: str = "facts", value: float = 0.0, *, promote: bool = False) -> Manifest:
        return registry.publish(make_draft(name), {"value": torch.tensor([value])}, {}, promote=promote)

    return _publish


class _Failing(Mapping[str, bytes]):
    """Attachments with a second one that cannot be read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, file: str) -> bytes:
        if file == "second":
            raise self.error
        return b"first"

    def __iter__(self) -> Iterator[str]:
        return iter(("first", "second"))

    def __len__(self) -> int:
        return 2


def test_what_is_published_is_loaded(registry: Registry) -> None:
    tensors = {"a": torch.randn(3, 5, generator=torch.Generator().manual_seed(1)), "b": torch.tensor([float("nan")])}
    published = registry.publish(make_draft("facts"), tensors, {"report.md": b"text"}, promote=False)
    stored = registry.load("facts@1")
    assert stored.manifest == published == registry.manifest("facts")
    assert (registry.root / "facts" / "1" / "report.md").read_bytes() == b"text"
    assert stored.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(stored.tensors[name].view(torch.int32), tensor.view(torch.int32))


def test_references_mean_what_they_say(registry: Registry, publish: Publish) -> None:
    for value in (1.0, 2.0, 3.0):
        publish("facts", value)
    publish("other.name-2")
    registry.promote("facts", 2)
    registry.promote("facts", 3, alias="canary")
    assert registry.resolve("facts") == ("facts", 2)
    assert registry.resolve("facts@production") == ("facts", 2)
    assert registry.resolve("facts@canary") == ("facts", 3)
    assert registry.resolve("facts@1") == ("facts", 1)
    assert registry.resolve("other.name-2") == ("other.name-2", 1)
    assert registry.load("facts@canary").tensors["value"].item() == 3.0


def test_the_first_version_becomes_production_and_later_ones_only_when_promoted(
    registry: Registry, publish: Publish
) -> None:
    publish()
    publish()
    assert registry.resolve("facts") == ("facts", 1)
    publish(promote=True)
    assert registry.resolve("facts") == ("facts", 3)


def test_a_survey_is_by_name_and_version_with_aliases(registry: Registry, publish: Publish) -> None:
    manifests = [publish("facts"), publish("facts"), publish("arts")]
    registry.promote("facts", 2, alias="canary")
    registry.promote("facts", 2, alias="beta")
    assert registry.survey() == [
        ListedVersion("arts", 1, ("production",), Summary.of(manifests[2])),
        ListedVersion("facts", 1, ("production",), Summary.of(manifests[0])),
        ListedVersion("facts", 2, ("beta", "canary"), Summary.of(manifests[1])),
    ]
    assert registry.references() == [("arts", 1), ("facts", 1), ("facts", 2)]


def test_an_empty_store_lists_nothing_and_says_so(registry: Registry) -> None:
    assert registry.survey() == []
    with pytest.raises(UnknownAdapterError, match="no adapter 'facts' is stored; the store has nothing"):
        registry.resolve("facts")
    with pytest.raises(UnknownAdapterError, match="no adapter 'facts' is stored"):
        registry.promote("facts", 1)
    assert not registry.root.exists()


@pytest.mark.parametrize(
    ("reference", "there_is"),
    [
        ("facts@3", "facts@1, facts@2, facts@production"),
        ("facts@canary", "facts@1, facts@2, facts@production"),
        ("fact", "arts, facts"),
        ("fact@1", "arts, facts"),
    ],
)
def test_an_unknown_reference_lists_what_there_is(
    registry: Registry, publish: Publish, reference: str, there_is: str
) -> None:
    for name in ("facts", "facts", "arts"):
        publish(name)
    with pytest.raises(UnknownAdapterError) as caught:
        registry.load(reference)
    assert str(caught.value) == f"no adapter {reference!r} is stored; the store has {there_is}"


BAD_NAMES = [
    "",
    ".",
    "..",
    "../outside",
    "/etc",
    "a/b",
    "a\\b",
    "Facts",
    "-a",
    ".a",
    "a b",
    "a\n",
    "a\0",
    "ä",
    "a" * 65,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_leave_the_store_is_refused(registry: Registry, publish: Publish, name: str) -> None:
    publish()
    shutil.copytree(registry.root / "facts", registry.root.parent / "outside")
    for attempt in (
        lambda: registry.resolve(name),
        lambda: registry.load(f"{name}@1"),
        lambda: registry.verify(f"{name}@production"),
        lambda: registry.promote(name, 1),
        lambda: registry.delete(f"{name}@1"),
    ):
        with pytest.raises(InvalidReferenceError, match="does not match") as caught:
            attempt()
        assert repr(name) in str(caught.value)
    assert (registry.root.parent / "outside" / "1" / "manifest.json").is_file()


def test_a_draft_that_slipped_past_validation_does_not_leave_the_store(registry: Registry) -> None:
    draft = make_draft().model_copy(update={"name": "../outside"})
    with pytest.raises(InvalidReferenceError, match=r"'\.\./outside'"):
        registry.publish(draft, {}, {}, promote=True)
    assert not (registry.root.parent / "outside").exists()


@pytest.mark.parametrize(
    "selector", ["", "0", "01", "-1", "1.0", "../1", "1/../1", "Canary", "1a", "a/b", "1\n", "a@1", "١"]
)
def test_a_selector_that_is_no_version_or_alias_is_refused(registry: Registry, publish: Publish, selector: str) -> None:
    publish()
    with pytest.raises(InvalidReferenceError) as caught:
        registry.resolve(f"facts@{selector}")
    assert repr(selector) in str(caught.value)


@pytest.mark.parametrize("alias", ["", "1", "Production", "a/b", "../a", "a\n"])
def test_an_alias_that_could_be_mistaken_is_refused(registry: Registry, publish: Publish, alias: str) -> None:
    publish()
    with pytest.raises(InvalidReferenceError, match="alias"):
        registry.promote("facts", 1, alias=alias)


def test_concurrent_publishers_get_versions_of_their_own(registry: Registry, publish: Publish) -> None:
    publishers = 8
    together = threading.Barrier(publishers)

    def _run(value: int) -> Manifest:
        together.wait()
        return publish("facts", float(value))

    with ThreadPoolExecutor(publishers) as pool:
        manifests = list(pool.map(_run, range(publishers)))
    assert sorted(manifest.version for manifest in manifests) == list(range(1, publishers + 1))
    for value, manifest in enumerate(manifests):
        stored = registry.load(manifest.reference)
        assert stored.manifest == manifest
        assert stored.tensors["value"].item() == value


def test_concurrent_promotions_of_different_aliases_are_all_kept(registry: Registry, publish: Publish) -> None:
    publish()
    aliases = [f"alias-{index}" for index in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda alias: registry.promote("facts", 1, alias), aliases))
    assert registry.survey()[0].aliases == tuple(sorted([*aliases, "production"]))


def test_an_alias_is_never_unreadable_while_it_moves(registry: Registry, publish: Publish) -> None:
    publish()
    publish()
    done = threading.Event()

    def _move() -> None:
        for move in range(100):
            registry.promote("facts", 1 + move % 2)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(_move)
        seen = set()
        while not done.is_set() and not moving.done():
            seen.add(registry.resolve("facts"))
        moving.result()
    assert seen <= {("facts", 1), ("facts", 2)}
    assert sorted(path.name for path in (registry.root / "facts").iterdir()) == [
        ".lock",
        "1",
        "2",
        "aliases.json",
        "last_version",
        "promotions.json",
    ]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_publish_leaves_nothing(registry: Registry, publish: Publish, error: BaseException) -> None:
    publish()
    with pytest.raises(type(error)):
        registry.publish(make_draft(), {"value": torch.ones(1)}, _Failing(error), promote=True)
    assert registry.references() == [("facts", 1)]
    assert registry.resolve("facts") == ("facts", 1)
    assert not list((registry.root / "facts").glob(".publishing-*"))
    assert publish().version == 3


def test_a_failed_first_publish_leaves_no_name_and_the_next_becomes_production(
    registry: Registry, publish: Publish
) -> None:
    with pytest.raises(InvalidAttachmentError):
        registry.publish(make_draft(), {}, {"../escape": b""}, promote=True)
    assert registry.survey() == []
    with pytest.raises(UnknownAdapterError, match="the store has nothing"):
        registry.resolve("facts")
    publish()
    assert registry.resolve("facts") == ("facts", 2)


def test_a_complete_version_that_was_never_renamed_is_not_seen(registry: Registry, publish: Publish) -> None:
    """A power cut between the last write and the rename leaves such a version behind."""
    publish()
    leftover = registry.root / "facts" / ".publishing-0123456789abcdef"
    leftover.mkdir()
    write_checkpoint(leftover, make_draft(), 2, {"value": torch.ones(1)}, {})
    assert registry.references() == [("facts", 1)]
    with pytest.raises(UnknownAdapterError):
        registry.load("facts@2")
    assert publish().version == 2


KILLED = """
import os, sys
from pathlib import Path
import torch
from uq4ct.model_store.storage.manifest import ManifestDraft
from uq4ct.model_store.storage.registry import Registry

class Killing(dict):
    def items(self):
        os.kill(os.getpid(), 9)

draft = ManifestDraft.model_validate_json(sys.stdin.read())
Registry(Path(sys.argv[1])).publish(draft, {"value": torch.ones(1)}, Killing(a=b""), promote=True)
"""


@pytest.mark.slow
def test_a_killed_publisher_blocks_nobody(registry: Registry, publish: Publish) -> None:
    publish()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(registry.root)], input=make_draft().model_dump_json().encode(), check=False
    )
    assert killed.returncode == -9
    assert len(list((registry.root / "facts").glob(".publishing-*"))) == 1
    assert registry.references() == [("facts", 1)]
    assert publish().version == 3
    assert [entry.version for entry in registry.survey()] == [1, 3]


def test_a_version_is_deleted_unless_an_alias_points_at_it(registry: Registry, publish: Publish) -> None:
    publish()
    publish()
    registry.promote("facts", 2, alias="canary")
    for reference in ("facts", "facts@1", "facts@canary"):
        with pytest.raises(AliasedVersionError, match=r"facts@\d is (production|canary); promote another version"):
            registry.delete(reference)
    registry.promote("facts", 1, alias="canary")
    registry.delete("facts@2")
    assert registry.references() == [("facts", 1)]
    with pytest.raises(UnknownAdapterError, match="facts@2"):
        registry.delete("facts@2")
    assert not list((registry.root / "facts").glob(".deleting-*"))


def test_a_deleted_number_is_never_given_out_again(registry: Registry, publish: Publish) -> None:
    publish()
    publish()
    publish()
    registry.delete("facts@3")
    registry.delete("facts@2")
    assert publish().version == 4
    assert registry.references() == [("facts", 1), ("facts", 4)]


def test_a_store_copied_without_its_record_continues_after_its_newest_version(
    registry: Registry, publish: Publish
) -> None:
    publish()
    publish()
    (registry.root / "facts" / "last_version").unlink()
    assert publish().version == 3


def test_a_damaged_version_can_be_deleted(registry: Registry, publish: Publish) -> None:
    publish()
    publish()
    (registry.root / "facts" / "2" / "manifest.json").write_bytes(b"")
    registry.delete("facts@2")
    assert registry.references() == [("facts", 1)]


def test_verify_finds_damage_in_the_weights(registry: Registry, publish: Publish) -> None:
    publish()
    registry.verify("facts")
    weights = registry.root / "facts" / "1" / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CorruptFileError, match=r"adapter\.safetensors"):
        registry.verify("facts@1")


def test_a_version_under_a_neighbours_name_is_refused(registry: Registry, publish: Publish) -> None:
    publish("facts")
    publish("arts")
    shutil.copytree(registry.root / "facts" / "1", registry.root / "arts" / "2")
    for attempt in (
        lambda: registry.load("arts@2"),
        lambda: registry.manifest("arts@2"),
        lambda: registry.entry("arts@2"),
    ):
        with pytest.raises(MisplacedAdapterError, match="is the manifest of facts@1, not of arts@2"):
            attempt()


def test_a_damaged_manifest_is_named(registry: Registry, publish: Publish) -> None:
    publish()
    manifest = registry.root / "facts" / "1" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(CorruptFileError, match=r"manifest\.json"):
        registry.manifest("facts")
    manifest.unlink()
    with pytest.raises(MissingFileError, match=r"manifest\.json"):
        registry.manifest("facts")


def test_a_survey_shows_what_is_damaged_among_the_good(registry: Registry, publish: Publish) -> None:
    for name in ("facts", "facts", "facts", "quiz"):
        publish(name)
    (registry.root / "facts" / "2" / "manifest.json").write_text("{}")
    (registry.root / "facts" / "3" / "manifest.json").unlink()
    (registry.root / "quiz" / "aliases.json").write_text("[")
    survey = registry.survey()
    assert [(entry.name, entry.version) for entry in survey] == [("facts", 1), ("facts", 2), ("facts", 3), ("quiz", 1)]
    good, changed, missing, unnamed = survey
    entry = registry.entry("facts")
    assert isinstance(entry, RegistryEntry)
    assert good == ListedVersion(entry.name, entry.version, entry.aliases, Summary.of(entry.manifest))
    for entry, error in ((changed, CorruptFileError), (missing, MissingFileError), (unnamed, CorruptFileError)):
        assert isinstance(entry, DamagedEntry)
        assert isinstance(entry.error, error)
    with pytest.raises(CorruptFileError, match="manifest"):
        registry.entry("facts@2")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"production": "1"}', b'{"production": 0}', b'{"../a": 1}'])
def test_damaged_aliases_are_named(registry: Registry, publish: Publish, content: bytes) -> None:
    publish()
    (registry.root / "facts" / "aliases.json").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"aliases\.json: must map aliases to versions"):
        registry.resolve("facts")
    assert registry.resolve("facts@1") == ("facts", 1)


def test_a_damaged_record_of_versions_is_named(registry: Registry, publish: Publish) -> None:
    publish()
    (registry.root / "facts" / "last_version").write_bytes(b"\xff")
    with pytest.raises(CorruptFileError, match="last_version: must hold the last version given out"):
        publish()


def test_a_version_removed_by_hand_is_not_resolved_through_its_alias(registry: Registry, publish: Publish) -> None:
    publish()
    publish()
    shutil.rmtree(registry.root / "facts" / "1")
    with pytest.raises(UnknownAdapterError, match=r"'facts' is stored; the store has facts@2$"):
        registry.resolve("facts")


def test_only_versions_of_registered_names_are_listed(registry: Registry, publish: Publish) -> None:
    publish()
    (registry.root / "README.txt").write_text("by hand")
    (registry.root / "Backup" / "1").mkdir(parents=True)
    (registry.root / "facts" / "007").mkdir()
    (registry.root / "facts" / "5").write_text("a file")
    assert registry.references() == [("facts", 1)]


def test_stored_files_are_readable_as_the_umask_says(registry: Registry, publish: Publish) -> None:
    """A temporary directory's private mode would hide the version from a service that runs as another user."""
    previous = os.umask(0o022)
    try:
        publish()
    finally:
        os.umask(previous)
    version = registry.root / "facts" / "1"
    assert stat.S_IMODE(version.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in version.iterdir()} == {0o644}


def test_a_newer_version_does_not_hide_the_older_ones(registry: Registry, publish: Publish) -> None:
    publish()
    publish()
    _rewrite_as_format(registry.root / "facts" / "2", FORMAT_VERSION + 1)
    with pytest.raises(NewerFormatError, match=rf"facts/2/manifest\.json: has format {FORMAT_VERSION + 1}"):
        registry.load("facts@2")
    assert registry.load("facts@1").manifest.version == 1


def _rewrite_as_format(directory: Path, format_version: int) -> None:
    manifest = directory / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": format_version}))
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    (directory / "manifest.sha256").write_text(f"{digest}  manifest.json\n")


def test_the_store_directory_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODEL_STORE_DIR", "/of another program")
    assert default_store_dir() == Path("model_store/artifacts/adapters")
    monkeypatch.setenv("UQ4CT_MODEL_STORE_DIR", str(tmp_path))
    assert default_store_dir() == tmp_path
    monkeypatch.setenv("UQ4CT_MODEL_STORE_DIR", "")
    assert default_store_dir() == Path("model_store/artifacts/adapters")
