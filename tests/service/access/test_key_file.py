"""A file of keys that cannot be read at once: it delays no request, and the last valid keys remain in force."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.access.fake_clocks import FakeTime
from tests.service.access.key_holder import KeyHolder
from uq4ct.service.access import key_ring
from uq4ct.service.access.clocks import Clocks
from uq4ct.service.access.key_ring import KeyRing
from uq4ct.service.access.keys import KeyFileError, read_keys

pytestmark = pytest.mark.anyio


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    holder = KeyHolder(tmp_path)
    holder.new("predict")
    return holder


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let reads of keys hang while the event is cleared, like a file system that does not answer."""
    may_end = threading.Event()
    may_end.set()

    def read(path: Path) -> object:
        assert may_end.wait(20)
        return read_keys(path)

    monkeypatch.setattr(key_ring, "read_keys", read)
    yield may_end
    may_end.set()


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_only_a_regular_file_is_read(keys: KeyHolder, kind: str) -> None:
    """A pipe has another end to wait for; opening it as usual would take for ever."""
    keys.file.unlink()
    if kind == "pipe":
        os.mkfifo(keys.file)
    elif kind == "folder":
        keys.file.mkdir()
    else:
        keys.file.symlink_to("/dev/zero")
    with pytest.raises(KeyFileError, match=r"Not a regular file|Is a directory"):
        KeyRing(keys.file, Clocks())


def test_a_file_that_is_too_large_is_named(keys: KeyHolder) -> None:
    with keys.file.open("ab") as file:
        file.truncate(16_000_001)
    with pytest.raises(KeyFileError, match="must have at most 16000000 bytes"):
        read_keys(keys.file)


async def test_a_pipe_in_its_place_leaves_the_keys_in_force(keys: KeyHolder, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeTime()
    ring = KeyRing(keys.file, clock.clocks)
    keys.file.unlink()
    os.mkfifo(keys.file)
    clock.advance(1)
    assert ring.find(keys.key("k").encode()) is not None
    assert not ring.is_readable()
    (said,) = [record.reason for record in caplog.records if "keys not read" in record.message]  # type: ignore[attr-defined]
    assert said == f"{keys.file}: Not a regular file"
    await ring.close()


async def test_a_file_system_that_hangs_delays_one_request_and_no_more(
    keys: KeyHolder, hang: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeTime()
    ring = KeyRing(keys.file, clock.clocks)
    hang.clear()
    keys.new("predict", key_id="later")
    clock.advance(1)
    started = time.monotonic()
    for _ in range(50):
        assert ring.find(keys.key("k").encode()) is not None, "the last valid keys remain in force"
        clock.advance(1)
    assert time.monotonic() - started < 5
    assert not ring.is_readable()
    assert ring.find(keys.key("later").encode()) is None
    assert sum("keys not read" in record.message for record in caplog.records) == 1
    hang.set()
    until = time.monotonic() + 10
    while not ring.is_readable() and time.monotonic() < until:
        time.sleep(0.01)
    assert ring.find(keys.key("later").encode()) is not None
    await ring.close()
