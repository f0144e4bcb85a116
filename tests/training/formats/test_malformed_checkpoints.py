"""Malformed checkpoints of other programs: exit code 1 and one line that names the file or field and the value."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.training.malformed import ODD_VALUES, check_refusal, make_loop
from uq4ct.training.formats import read_adapter
from uq4ct.training.formats.foreign import FormatError


def lora_tensors() -> dict[str, Tensor]:
    """The tensors of rank 2 on q_proj of both layers of the tiny base model."""
    places = [f"base_model.model.model.layers.{layer}.self_attn.q_proj" for layer in range(2)]
    return {
        f"{place}.lora_{side}.weight": torch.ones(shape)
        for place in places
        for side, shape in (("A", (2, 32)), ("B", (32, 2)))
    }


LORA_CONFIG = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "lora_dropout": 0.0}
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A valid checkpoint."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(LORA_CONFIG))
    save_file(lora_tensors(), folder / "adapter_model.safetensors")
    assert read_adapter(folder).config.rank == 2
    return folder


@pytest.fixture
def refuse_adoption(foreign: Path, record: dict[str, Any], tmp_path: Path) -> Callable[..., None]:
    """Check that the checkpoint is not adopted."""

    def refuse(*named: str) -> None:
        recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
        recipe.write_text(json.dumps(record))
        check_refusal(["adopt", str(foreign), "--recipe", str(recipe), "--output", str(run)], *named)
        assert not run.exists()

    return refuse


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"r": 2.7}, "r must be a whole number from 1 (got 2.7)"),
        ({"r": True}, "r must be a whole number from 1 (got True)"),
        ({"r": "2"}, "r must be a whole number from 1 (got '2')"),
        ({"r": -2, "use_rslora": True}, "r must be a whole number from 1 (got -2)"),
        ({"r": 10**400}, "adapter_config.json: r: Input should be less than or equal to 1024"),
        ({"r": 10**400, "use_rslora": True}, "adapter_config.json: r: Input should be less than or equal to 1024"),
        ({"use_rslora": "no"}, "use_rslora must be true or false (got 'no')"),
        ({"use_rslora": 1}, "use_rslora must be true or false (got 1)"),
        ({"lora_alpha": True}, "lora_alpha must be a finite number (got True)"),
        ({"lora_alpha": 10**400}, "lora_alpha must be a finite number (got 1000"),
        ({"lora_alpha": -4}, "adapter_config.json: lora_alpha: Input should be greater than 0 (got -4.0)"),
        ({"lora_dropout": "0"}, "adapter_config.json: lora_dropout: Input should be a valid number (got '0')"),
        ({"lora_dropout": None}, "adapter_config.json: lora_dropout: Input should be a valid number (got None)"),
        ({"peft_type": ["LORA"]}, "peft_type ['LORA'] is not one of LORA, MIXLORA"),
        ({"base_model_name_or_path": 3}, "base_model_name_or_path must be text (got 3)"),
        ({"init_lora_weights": {}}, "init_lora_weights is {}, which changes the base model"),
        ({"bias": "all\n" * 100}, "bias is 'all\\nall"),
    ],
    ids=str,
)  # fmt: skip
def test_a_field_of_another_type_is_one_line(
    changes: dict[str, Any], complaint: str, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_config.json").write_text(json.dumps(LORA_CONFIG | changes))
    refuse_adoption(str(foreign), complaint)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe{\0", "byte 0 is not UTF-8"),
        (b"{" * 100_000, "cannot be read"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"r": 2, "r": 4}', "duplicate key 'r'"),
        (b'{"lora_alpha": Infinity}', "Infinity is not a JSON value"),
        (b'{"r": ' + b"9" * 5000 + b"}", "too many digits"),
        (b" " * (2**20 + 1), "Larger than 1048576 bytes"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_one_line(
    content: bytes, complaint: str, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_config.json").write_bytes(content)
    refuse_adoption("adapter_config.json cannot be read", complaint)


def test_an_infinite_alpha_of_json_is_refused(foreign: Path, refuse_adoption: Callable[..., None]) -> None:
    text = json.dumps(LORA_CONFIG).replace('"lora_alpha": 4', '"lora_alpha": 1e999')
    (foreign / "adapter_config.json").write_text(text)
    refuse_adoption("lora_alpha must be a finite number (got inf)")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, make_loop], ids=["directory", "pipe", "link loop"])
@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file_of_a_checkpoint_that_is_no_file_is_one_line(
    file: str, make: Callable[[Path], Any], foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / file).unlink()
    make(foreign / file)
    refuse_adoption(f"{foreign / file} cannot be read: ")


def test_a_checkpoint_that_is_no_folder_is_one_line(foreign: Path, refuse_adoption: Callable[..., None]) -> None:
    for path in foreign.iterdir():
        path.unlink()
    foreign.rmdir()
    refuse_adoption("adapter_config.json cannot be read: No such file or directory")
    foreign.write_text("a file")
    refuse_adoption("adapter_config.json cannot be read: Not a directory")


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        (
            torch.ones(2, 32, dtype=torch.complex64),
            "has dtype complex64, which is not one of float32, float16",
        ),
        (torch.ones(2, 32, dtype=torch.int64), "has dtype int64"),
        (torch.ones(2, 32, dtype=torch.bool), "has dtype bool"),
        (torch.ones(2, 31), "does not fit the base model"),
        (torch.ones(3, 32), "has shape (3, 32), but the configuration says (2, None)"),
        (torch.ones(2, 32, 1), "has shape (2, 32, 1)"),
        (torch.ones(0, 32), "has shape (0, 32)"),
        (torch.ones(()), "has shape ()"),
        (torch.full((2, 32), torch.nan), "has the value nan at [0, 0], not a finite one"),
        (torch.full((2, 32), -torch.inf), "has the value -inf at [0, 0], not a finite one"),
        (torch.full((2, 32), 1e300, dtype=torch.float64), "has the value 1e+300 at [0, 0], not a finite one"),
    ],
    ids=lambda value: str(getattr(value, "dtype", None)),
)
@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_model.bin"])
def test_a_tensor_that_cannot_be_honoured_is_one_line(
    file: str, tensor: Tensor, complaint: str, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_model.safetensors").unlink()
    tensors = lora_tensors() | {FIRST: tensor}
    save_file(tensors, foreign / file) if file.endswith("safetensors") else torch.save(tensors, foreign / file)
    refuse_adoption(complaint)


def test_floats_of_8_bits_are_refused(foreign: Path, refuse_adoption: Callable[..., None]) -> None:
    tensors = lora_tensors() | {FIRST: torch.ones(2, 32, dtype=torch.float8_e4m3fn)}
    save_file(tensors, foreign / "adapter_model.safetensors")
    refuse_adoption("has dtype float8_e4m3fn")
    (foreign / "adapter_model.safetensors").unlink()
    torch.save(tensors, foreign / "adapter_model.bin")
    refuse_adoption("asks for 'torch._utils _rebuild_tensor_v3'")


def header(**entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        header(a={"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}),
        header(a={"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}),
        header(a={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}),
        header(a={"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}) + b"1234",
    ],
    ids=["empty", "short", "long header", "list", "exabytes", "overflow", "truncated", "dtype"],
)
def test_safetensors_that_declare_what_they_do_not_hold_are_one_line(
    content: bytes, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_model.safetensors").write_bytes(content)
    refuse_adoption("adapter_model.safetensors cannot be read: ")


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def compress(path: Path) -> None:
    """Write a .bin of about 300 KB that unpacks to 300 MB of zeros."""
    torch.save({"a": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            if not name.endswith("/data/0"):
                archive.writestr(name, data)
                continue
            with archive.open(deflated(name), "w", force_zip64=True) as file:
                for _ in range(300):
                    file.write(bytes(2**20))


def deflated(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


PICKLES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "it is not a zip archive"),
    "old format": (lambda path: torch.save({}, path, _use_new_zipfile_serialization=False), "it is not a zip archive"),
    "code": (lambda path: torch.save({"a": Call(os.getcwd)}, path), "it asks for 'posix getcwd'"),
    "memory": (lambda path: torch.save({"a": Call(bytearray, 3 * 10**9)}, path), "it asks for '__builtin__ bytearray'"),
    "tensor class": (lambda path: torch.save({"a": Call(torch.Tensor, 10**9)}, path), "it asks for 'torch Tensor'"),
    "expanded": (
        lambda path: torch.save({"a": torch.zeros(1, dtype=torch.float16).expand(10**5, 10**4)}, path),
        "its tensors need 2000000000 bytes",
    ),
    "shared": (
        lambda path: torch.save(dict.fromkeys(map(str, range(1000)), torch.zeros(10**5)), path),
        "its tensors need 400000000 bytes",
    ),
    "list": (lambda path: torch.save([torch.zeros(1)], path), "contains something other than named tensors"),
    "number": (lambda path: torch.save({"a": 1}, path), "contains something other than named tensors: 'a'"),
    "no text": (lambda path: torch.save({1: torch.zeros(1)}, path), "contains something other than named tensors: '1'"),
    "truncated": (
        lambda path: (torch.save(lora_tensors(), path), path.write_bytes(path.read_bytes()[:-200])),
        "it is not a zip archive",
    ),
    "other archive": (
        lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"),
        "cannot be read",
    ),
}


@pytest.mark.parametrize(("write", "complaint"), PICKLES.values(), ids=PICKLES)
def test_pickles_of_more_than_tensors_are_one_line(
    write: Callable[[Path], Any], complaint: str, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_model.safetensors").unlink()
    write(foreign / "adapter_model.bin")
    refuse_adoption(str(foreign / "adapter_model.bin"), complaint)


# VmHWM, because ru_maxrss starts with the memory of the program that starts this one: it would hide the increase.
REFUSED_IN_LITTLE_MEMORY = """
import re, sys
from pathlib import Path
from uq4ct.training.formats import read_adapter
from uq4ct.training.formats.foreign import FormatError

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak()
try:
    read_adapter(Path(sys.argv[1]))
except FormatError as error:
    print(peak() - before, error)
"""


@pytest.mark.slow
def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused_in_little_memory(foreign: Path) -> None:
    (foreign / "adapter_model.safetensors").unlink()
    compress(foreign / "adapter_model.bin")
    assert (foreign / "adapter_model.bin").stat().st_size < 2**20
    done = subprocess.run(
        [sys.executable, "-c", REFUSED_IN_LITTLE_MEMORY, str(foreign)], check=True, capture_output=True, text=True
    )
    kibibytes, message = done.stdout.split(maxsplit=1)
    assert "is compressed" in message
    assert int(kibibytes) < 50_000


@pytest.mark.parametrize("field", ["r", "lora_alpha", "lora_dropout", "use_rslora", "peft_type", "task_type", "bias"])
def test_no_field_of_a_checkpoint_is_a_traceback(field: str, foreign: Path) -> None:
    complaints: list[str] = []
    for value in ODD_VALUES:
        (foreign / "adapter_config.json").write_text(json.dumps(LORA_CONFIG | {field: value}))
        try:
            read_adapter(foreign)
        except FormatError as error:
            complaints.append(str(error))
    assert len(complaints) > 5
    for complaint in complaints:
        assert "\n" not in complaint
        assert field in complaint or "is not a JSON value" in complaint
