"""A base model that was moved, or that came from the hub, is found again by its digest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uq4ct.model_store.base import recorded
from uq4ct.model_store.base.digests import folder_digest
from uq4ct.model_store.base.errors import BaseModelError
from uq4ct.model_store.base.files import BaseFiles
from uq4ct.model_store.base.identity import EMBEDDED, BaseIdentity
from uq4ct.model_store.base.recorded import default_base_folders, find_recorded_base, load_recorded_base

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def other_folder(tmp_path: Path, make_base_folder: Callable[..., Path]) -> Path:
    """A base with other weights."""
    return make_base_folder(tmp_path / "other", seed=9)


def record_of(folder: Path, **changes: Any) -> BaseIdentity:
    fields = {"name": "/moved/away", "revision": None, "digest": folder_digest(folder), "model_type": "llama"}
    return BaseIdentity(**{**fields, **changes})


def test_the_first_folder_with_the_digest_is_taken(tiny_folder: Path, tmp_path: Path, other_folder: Path) -> None:
    copied = shutil.copytree(tiny_folder, tmp_path / "copied")
    record = record_of(tiny_folder)
    for folders in ([tiny_folder], [other_folder, tiny_folder, copied], [tmp_path / "none", tmp_path, tiny_folder]):
        assert find_recorded_base(record, folders) == BaseFiles(tiny_folder, record)


def test_a_base_of_the_hub_is_found_without_the_hub(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "find_base_files", lambda *_, **__: pytest.fail("looked up by name"))
    record = record_of(tiny_folder, name="owner/model", revision=COMMIT)
    assert load_recorded_base(record, folders=[tiny_folder], device="cpu", dtype="float32").identity == record


def test_the_digest_decides_even_where_the_recorded_name_exists(tiny_folder: Path, other_folder: Path) -> None:
    record = record_of(tiny_folder, name=str(other_folder))
    assert find_recorded_base(record, [tiny_folder]).folder == tiny_folder


def test_folders_without_the_digest_are_refused_with_both_digests(
    tiny_folder: Path, other_folder: Path, tmp_path: Path
) -> None:
    ours, theirs = folder_digest(tiny_folder), folder_digest(other_folder)
    with pytest.raises(BaseModelError) as caught:
        find_recorded_base(record_of(tiny_folder), [other_folder, tmp_path / "none", tmp_path])
    assert str(caught.value) == (
        f"no folder has base model '/moved/away' with digest {ours}: {other_folder} has digest {theirs}; "
        f"{tmp_path / 'none'} is not a folder; base model '{tmp_path}' has no *.safetensors (pickled weights are never "
        "read)"
    )


@pytest.mark.parametrize("name", ["/moved/away", "owner/model"])
def test_a_base_that_is_not_found_by_name_says_how_to_name_its_folder(
    name: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> BaseFiles:
        raise BaseModelError("not here")

    monkeypatch.setattr(recorded, "find_base_files", missing)
    with pytest.raises(BaseModelError, match=r"not here\. If another folder has it, set UQ4CT_BASE_FOLDERS or --base"):
        find_recorded_base(record_of(tiny_folder, name=name))


def test_the_recorded_commit_of_a_hub_base_is_asked_for(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(recorded, "find_base_files", lambda *arguments, **_: asked.append(arguments))
    find_recorded_base(record_of(tiny_folder, name="owner/model", revision=COMMIT))
    find_recorded_base(record_of(tiny_folder, name=str(tiny_folder)))
    find_recorded_base(record_of(tiny_folder, name=EMBEDDED, revision="0.1.2"), [tiny_folder])
    assert asked == [("owner/model", COMMIT), (str(tiny_folder), None), (EMBEDDED, None)]


def test_the_environment_names_several_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UQ4CT_BASE_FOLDERS", raising=False)
    assert default_base_folders() == ()
    monkeypatch.setenv("UQ4CT_BASE_FOLDERS", "/a:b::~/c")
    assert default_base_folders() == (Path("/a"), Path("b"), Path("~/c").expanduser())
