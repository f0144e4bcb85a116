"""Damaged runs: exit code 1 and one line that names the file or field and the value."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.malformed import check_refusal, make_loop


@pytest.mark.parametrize("file", ["config.json", "result.json", "adapter.safetensors"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"{" * 100_000),
        lambda path: path.write_bytes(b'{"a": 1, "a": 2}'),
        lambda path: path.write_bytes(b"\xff\xfe\0"),
        lambda path: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
        Path.mkdir,
        os.mkfifo,
        make_loop,
    ],
    ids=["empty", "deep", "duplicate", "binary", "long header", "directory", "pipe", "link loop"],
)
def test_a_run_that_cannot_be_read_is_one_line(
    file: str, make: Callable[[Path], Any], finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for path in finished_run.iterdir():
        if path.is_file() and path.name != file:
            (run / path.name).write_bytes(path.read_bytes())
    make(run / file)
    check_refusal(["publish", str(run), "--store", str(tmp_path / "store")], str(run / file), "cannot be read")
    check_refusal(["evaluate", str(run)], str(run / file), "cannot be read")
