from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.manifests import make_draft
from uq4ct.model_store.storage.checkpoint import read_checkpoint, read_manifest, write_checkpoint
from uq4ct.model_store.storage.errors import (
    CorruptFileError,
    InvalidAttachmentError,
    MissingFileError,
    NewerFormatError,
    StoreError,
    UnknownFileError,
)
from uq4ct.model_store.storage.manifest import FORMAT_VERSION

ATTACHMENTS = {"report.md": b"# Scores\n", "reliability.png": bytes(range(256))}
FILES = ("adapter.safetensors", "manifest.json", "manifest.sha256", "reliability.png", "report.md")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written version; a test that damages it must repair it."""
    directory = tmp_path_factory.mktemp("checkpoint")
    tensors = {"expert_bank.a": torch.arange(12.0).reshape(4, 3), "router": torch.eye(2, dtype=torch.bfloat16)}
    write_checkpoint(directory, make_draft(), 1, tensors, ATTACHMENTS)
    return directory


@contextmanager
def _content(path: Path, data: bytes) -> Iterator[None]:
    original = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(original)


def _bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, list[int]]:
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


@settings(deadline=None, max_examples=40)
@given(
    data=st.binary(min_size=8, max_size=64).map(lambda data: data[: len(data) // 8 * 8]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8]),
)
def test_tensors_return_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, data: bytes, dtype: torch.dtype) -> None:
    """Any bits: NaN payloads, negative zeros and subnormal numbers among them."""
    tensor = torch.frombuffer(bytearray(data), dtype=dtype)
    directory = tmp_path_factory.mktemp("bits")
    write_checkpoint(directory, make_draft(), 1, {"tensor": tensor}, {})
    assert _bits(read_checkpoint(directory).tensors["tensor"]) == _bits(tensor)


def test_views_and_shared_memory_return_bit_for_bit(tmp_path: Path) -> None:
    bank = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    tensors = {
        "whole": torch.nn.Parameter(bank),
        "transposed": bank.T,
        "expert": bank[1:3],
        "scalar": torch.tensor(-0.0),
        "empty": torch.empty(0, 3),
    }
    write_checkpoint(tmp_path, make_draft(), 1, tensors, ATTACHMENTS)
    stored = read_checkpoint(tmp_path)
    assert {name: _bits(tensor) for name, tensor in stored.tensors.items()} == {
        name: _bits(tensor.detach()) for name, tensor in tensors.items()
    }
    assert {file: (tmp_path / file).read_bytes() for file in ATTACHMENTS} == ATTACHMENTS


def test_the_written_manifest_is_returned_and_lists_the_digests(tmp_path: Path) -> None:
    written = write_checkpoint(tmp_path, make_draft(), 5, {"a": torch.ones(2)}, ATTACHMENTS)
    assert read_manifest(tmp_path) == written == read_checkpoint(tmp_path).manifest
    assert written.version == 5
    assert written.files == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tmp_path.iterdir()
        if not path.name.startswith("manifest")
    }


def test_the_manifests_digest_is_in_the_form_of_sha256sum(checkpoint: Path) -> None:
    check = subprocess.run(
        ["sha256sum", "-c", "manifest.sha256"], cwd=checkpoint, capture_output=True, text=True, check=True
    )
    assert check.stdout == "manifest.json: OK\n"


@pytest.mark.parametrize("file", FILES)
@settings(deadline=None, max_examples=30)
@given(draw=st.data())
def test_a_changed_byte_is_an_error_that_names_the_file(checkpoint: Path, file: str, draw: st.DataObject) -> None:
    path = checkpoint / file
    data = bytearray(path.read_bytes())
    data[draw.draw(st.integers(0, len(data) - 1), label="position")] ^= draw.draw(st.integers(1, 255), label="change")
    with _content(path, bytes(data)), pytest.raises(CorruptFileError, match=file):
        read_checkpoint(checkpoint)
    read_checkpoint(checkpoint)


@pytest.mark.parametrize("file", FILES)
@settings(deadline=None, max_examples=15)
@given(draw=st.data())
def test_a_truncated_file_is_named(checkpoint: Path, file: str, draw: st.DataObject) -> None:
    path = checkpoint / file
    data = path.read_bytes()
    kept = draw.draw(st.integers(0, len(data) - 1), label="bytes kept")
    with _content(path, data[:kept]), pytest.raises(CorruptFileError, match=rf"{file}.*truncated"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(checkpoint: Path, file: str) -> None:
    path = checkpoint / file
    data = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(MissingFileError, match=f"{file}: is missing") as caught:
            read_checkpoint(checkpoint)
    finally:
        path.write_bytes(data)
    assert caught.value.path == path


def test_a_file_that_nobody_published_is_named(checkpoint: Path) -> None:
    extra = checkpoint / "code.pkl"
    extra.write_bytes(b"")
    try:
        with pytest.raises(UnknownFileError, match=r"code\.pkl: is not listed"):
            read_checkpoint(checkpoint)
    finally:
        extra.unlink()


def test_a_newer_format_is_told_from_damage(checkpoint: Path) -> None:
    record = {"format_version": FORMAT_VERSION + 1, "weights": "elsewhere"}
    newer = json.dumps(record).encode()
    line = f"{hashlib.sha256(newer).hexdigest()}  manifest.json\n".encode()
    with (
        _content(checkpoint / "manifest.json", newer),
        _content(checkpoint / "manifest.sha256", line),
        pytest.raises(NewerFormatError, match=f"format {FORMAT_VERSION + 1}.* {FORMAT_VERSION}; upgrade"),
    ):
        read_checkpoint(checkpoint)


def test_weights_that_are_no_safetensors_are_refused_even_with_the_right_digest(checkpoint: Path) -> None:
    pickled = b"\x80\x04N."
    manifest = read_manifest(checkpoint)
    files = {**manifest.files, "adapter.safetensors": hashlib.sha256(pickled).hexdigest()}
    changed = manifest.model_copy(update={"files": files}).to_json()
    line = f"{hashlib.sha256(changed).hexdigest()}  manifest.json\n".encode()
    with (
        _content(checkpoint / "adapter.safetensors", pickled),
        _content(checkpoint / "manifest.json", changed),
        _content(checkpoint / "manifest.sha256", line),
        pytest.raises(CorruptFileError, match=r"adapter\.safetensors: is not a safetensors file"),
    ):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "file",
    ["../report.md", "a/b", "/etc/passwd", "..", ".hidden", "", "a\n", "a\\b", "manifest.json", "manifest.sha256"],
)
def test_an_attachment_with_a_path_or_a_reserved_name_is_refused(tmp_path: Path, file: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(InvalidAttachmentError, match="attachment") as caught:
        write_checkpoint(inside, make_draft(), 1, {}, {file: b""})
    assert repr(file) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_an_attachment_does_not_replace_the_weights(tmp_path: Path) -> None:
    with pytest.raises(InvalidAttachmentError, match="checkpoint's own file"):
        write_checkpoint(tmp_path, make_draft(), 1, {}, {"adapter.safetensors": b""})


def test_an_empty_directory_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"manifest\.json: is missing"):
        read_checkpoint(tmp_path)
