"""Versions that cannot be read are listed as damaged with the reason; the others are listed and answer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.conftest import Start
from uq4ct.model_store.storage.registry import Registry

pytestmark = pytest.mark.anyio


def make_directory(directory: Path) -> None:
    (directory / "manifest.json").unlink()
    (directory / "manifest.json").mkdir()


def make_pipe(directory: Path) -> None:
    (directory / "manifest.json").unlink()
    os.mkfifo(directory / "manifest.json")


def make_link_loop(directory: Path) -> None:
    (directory / "manifest.json").unlink()
    (directory / "manifest.json").symlink_to("manifest.json")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (make_directory, "manifest.json cannot be read: Is a directory"),
        (make_pipe, "manifest.json cannot be read: Not a regular file"),
        (make_link_loop, "manifest.json cannot be read: Too many levels of symbolic links"),
    ],
)
async def test_one_unreadable_version_leaves_the_others(
    start: Start, own_adapters: Registry, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(own_adapters.root / "toy" / "2")
    async with start(adapters=own_adapters) as replica:
        listed = await replica.client.get("/models")
        assert listed.status_code == 200
        assert [(card["name"], card["version"]) for card in listed.json()["models"]] == [("other", 1), ("toy", 1)]
        assert listed.json()["damaged"] == [{"name": "toy", "version": 2, "aliases": ["staging"], "error": reason}]
        for answer in (
            await replica.client.get("/models/toy@2"),
            await replica.client.get("/v2/models/toy/versions/2"),
            await replica.post("/models/toy@2/load"),
            await replica.ask(model="toy@2"),
        ):
            assert answer.status_code == 409, answer.text
            assert reason in answer.text
            assert str(own_adapters.root) not in answer.text
        assert (await replica.client.get("/v2/models/toy")).status_code == 200
        assert (await replica.ask(model="other@1")).status_code == 200


async def test_a_name_that_cannot_be_read_has_no_version(start: Start, own_adapters: Registry) -> None:
    shutil.rmtree(own_adapters.root / "other")
    (own_adapters.root / "other").symlink_to("other")
    async with start(adapters=own_adapters) as replica:
        listed = (await replica.client.get("/models")).json()
        assert listed["damaged"] == [
            {
                "name": "other",
                "version": None,
                "aliases": [],
                "error": "other cannot be read: Too many levels of symbolic links",
            }
        ]
        assert len(listed["models"]) == 2
        assert (await replica.client.get("/models/other")).status_code == 409
        assert (await replica.ask()).status_code == 200
