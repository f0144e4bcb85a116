from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from uq4ct.model_store.storage.durable_files import replace_file, write_file


def test_a_new_file_never_takes_the_place_of_another(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_replaced_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    replace_file(tmp_path / "a", b"first")
    replace_file(tmp_path / "a", b"second")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"second"}


def test_a_replacement_has_the_permissions_of_its_model(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "a").chmod(0o646)
    replace_file(tmp_path / "a", b"second", 0o600, (tmp_path / "a").stat())
    assert (tmp_path / "a").read_bytes() == b"second"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o646


@pytest.mark.skipif(os.geteuid() == 0, reason="root may give a file to anybody")
def test_an_owner_that_may_not_be_given_leaves_the_old_file(tmp_path: Path) -> None:
    replace_file(tmp_path / "a", b"first")
    with pytest.raises(PermissionError, match="belongs to user 0, group 0"):
        replace_file(tmp_path / "a", b"second", like=Path("/").stat())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"first"}


def test_a_replacement_that_fails_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "a", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
