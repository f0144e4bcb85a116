"""Base models that are not supported or damaged are refused on one line that names what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.command_line import uq4ct
from uq4ct.model_store.base.errors import BaseModelError
from uq4ct.model_store.base.files import find_base_files
from uq4ct.model_store.base.models import load_base_model


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base's folder that a test may change."""
    return shutil.copytree(tiny_folder, tmp_path / "copied")


def change_json(path: Path, **fields: Any) -> None:
    """Replace fields of a JSON file."""
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(record | fields), encoding="utf-8")


def refusal(folder: Path) -> str:
    """Return the only line of the error of loading a base."""
    with pytest.raises(BaseModelError) as caught:
        load_base_model(str(folder), device="cpu", dtype="float32")
    (line,) = str(caught.value).splitlines()
    assert len(line) < 500
    return line


@pytest.mark.parametrize("method", ["gptq", "awq", "fp8", "bitsandbytes", "no-such-method"])
@pytest.mark.parametrize("field", ["quantization_config", "compression_config"])
def test_a_quantized_base_is_refused_before_its_weights_are_read(copied: Path, field: str, method: str) -> None:
    change_json(copied / "config.json", **{field: {"quant_method": method, "bits": 4}})
    (copied / "model.safetensors").write_bytes(b"")
    with pytest.raises(BaseModelError, match=rf"is quantized \({field}: {method}\), which is not supported"):
        find_base_files(str(copied))


def test_a_base_that_says_it_is_not_quantized_is_loaded(copied: Path) -> None:
    change_json(copied / "config.json", quantization_config=None)
    load_base_model(str(copied), device="cpu")


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_parameters": {"rope_type": "spiral", "rope_theta": 10_000.0}},
        {"rope_scaling": {"rope_type": "spiral", "factor": 2.0}},
        {"rope_scaling": {"type": "spiral", "factor": 2.0}},
        {"rope_parameters": {"full_attention": {"rope_type": "spiral", "rope_theta": 10_000.0}}},
    ],
)
def test_an_unknown_rope_type_is_refused_by_name(copied: Path, fields: dict[str, Any]) -> None:
    change_json(copied / "config.json", **fields)
    assert "has the rope type 'spiral', not one of default, linear, dynamic" in refusal(copied)


@pytest.mark.parametrize("kind", ["linear", "dynamic", "llama3", "yarn"])
def test_the_known_rope_types_are_loaded(copied: Path, kind: str) -> None:
    more = {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if kind == "llama3" else {}
    rope = {"rope_type": kind, "rope_theta": 10_000.0, "factor": 2.0, "original_max_position_embeddings": 512, **more}
    change_json(copied / "config.json", rope_parameters=rope)
    load_base_model(str(copied), device="cpu")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hidden_act": "spiral"}, "spiral"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"num_hidden_layers": 3}, "lacks 9 weights, first model.layers.2."),
        ({"intermediate_size": 64}, "first model.layers.0.mlp.down_proj.weight: (32, 48), not (32, 64)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(copied: Path, fields: dict[str, Any], named: str) -> None:
    change_json(copied / "config.json", **fields)
    line = refusal(copied)
    assert line.startswith(f"base model '{copied}' in ")
    assert named in line


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: change_json(folder / "tokenizer.json", model={"type": "Spiral", "vocab": {}}),
        lambda folder: change_json(folder / "tokenizer.json", pre_tokenizer={"type": "Spiral"}),
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: (folder / "tokenizer.json").write_text("[]"),
        lambda folder: (folder / "tokenizer.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "tokenizer_config.json").write_text("{"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_named(copied: Path, spoil: Callable[[Path], object]) -> None:
    spoil(copied)
    assert refusal(copied).startswith(f"the tokenizer of base model '{copied}' in {copied} cannot be read: ")


def divide_weights(folder: Path) -> None:
    """Divide the weights into two shards with an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards: dict[str, str] = {}
    for number, names in enumerate((sorted(weights)[::2], sorted(weights)[1::2]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: weights[name] for name in names}, folder / file, metadata={"format": "pt"})
        shards |= dict.fromkeys(names, file)
    index = {"metadata": {}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def test_shards_are_loaded(copied: Path) -> None:
    divide_weights(copied)
    load_base_model(str(copied), device="cpu")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "model-00002-of-00002.safetensors").unlink(),
        lambda folder: (folder / "model-00002-of-00002.safetensors").write_bytes(b"\x10"),
        lambda folder: (folder / "model.safetensors.index.json").unlink(),
        lambda folder: (folder / "model.safetensors.index.json").write_text("{"),
        lambda folder: (folder / "model.safetensors.index.json").write_text("[]"),
    ],
)
def test_missing_and_damaged_shards_are_named(copied: Path, spoil: Callable[[Path], object]) -> None:
    divide_weights(copied)
    spoil(copied)
    assert refusal(copied).startswith(f"base model '{copied}' in {copied} cannot be read: ")


def test_a_folder_in_the_place_of_the_weights_is_named(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    (copied / "model.safetensors").mkdir()
    assert refusal(copied).startswith(f"base model '{copied}' cannot be read: ")


def test_the_command_prints_one_line(copied: Path) -> None:
    change_json(copied / "config.json", quantization_config={"quant_method": "gptq"})
    done = uq4ct(["fetch", str(copied)])
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"error: base model '{copied}' is quantized (quantization_config: gptq), which is not supported: use its "
        "unquantized weights"
    ]
