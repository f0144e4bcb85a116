"""MixLoRA's published format, compared with its authors' package."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.training.formats.authors_mixlora import load_published
from tests.training.formats.mixlora_layout import published_config, random_tensors, write_published
from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.context import adapter_forward
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.scoring.config import LetterConfig
from uq4ct.training.formats import read_adapter
from uq4ct.training.formats.foreign import FormatError

TOKENS = torch.tensor([[5, 30, 77, 120, 8, 300], [9, 9, 41, 250, 3, 17]])


def our_logits(folder: Path, base_folder: Path) -> Tensor:
    """Return our model's logits, [B, T, V]."""
    foreign = read_adapter(folder)
    base = load_base_model(str(base_folder), device="cpu", dtype="float32")
    model = add_adapter(base, foreign.config, LetterConfig())
    model.load_adapter_tensors(foreign.tensors)
    model.freeze()
    with torch.no_grad(), adapter_forward("default"):
        return base.model(TOKENS, use_cache=False).logits


@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}, {"top_k": 1}, {"num_experts": 3, "top_k": 3}], ids=str)
def test_an_imported_checkpoint_answers_as_the_authors_package(
    changes: dict[str, Any], tmp_path: Path, tiny_folder: Path
) -> None:
    folder = write_published(tmp_path / "published", str(tiny_folder), **changes)
    with torch.no_grad():
        theirs = load_published(folder)(TOKENS, use_cache=False).logits
        bare = load_base_model(str(tiny_folder), device="cpu", dtype="float32").model(TOKENS, use_cache=False).logits
    ours = our_logits(folder, tiny_folder)
    assert (theirs - bare).abs().max() > 1  # the adapter matters
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_the_configuration_becomes_ours(tmp_path: Path, tiny_folder: Path) -> None:
    switched = {name: name != "k_proj" for name in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj")}
    foreign = read_adapter(write_published(tmp_path, str(tiny_folder), target_modules=switched, lora_alpha=6))
    config = foreign.config
    assert (config.placement, config.mixing, config.experts, config.top_k) == ("block", "renormalised", 4, 2)
    assert (config.rank, config.alpha, config.dropout) == (3, 6.0, 0.05)
    assert config.targets == ("q_proj", "v_proj", "gate_proj", "up_proj", "down_proj")
    assert (foreign.format, foreign.base, foreign.activation) == ("mixlora", str(tiny_folder), "silu")
    stabilised = read_adapter(write_published(tmp_path / "rs", str(tiny_folder), use_rslora=True))
    assert stabilised.config.scale == pytest.approx(5 / 3**0.5)


def test_experts_with_the_settings_of_attention_are_read(tmp_path: Path, tiny_folder: Path) -> None:
    own = {"r": 3, "lora_alpha": 5, "lora_dropout": 0.05, "bias": "none"}
    assert read_adapter(write_published(tmp_path, str(tiny_folder), expert_lora=own)).config.rank == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"routing_strategy": "mixlora-dynamic"}, "routing_strategy is 'mixlora-dynamic'"),
        ({"routing_strategy": "mixlora-switch"}, "routing_strategy is 'mixlora-switch'"),
        ({"jitter_noise": 0.1}, "jitter_noise is 0.1"),
        ({"use_dora": True}, "use_dora is True"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"expert_capacity": 32}, "expert_capacity is 32"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'"),
        ({"expert_lora": {"r": 8}}, "expert_lora.r is 8, r is 3"),
        ({"expert_lora": {"use_dora": True}}, "expert_lora.use_dora is True"),
        ({"target_modules": ["q_proj", "w1_proj"]}, r"target_modules contains \['w1_proj'\]"),
        ({"target_modules": "all"}, r"target_modules must be .* \(got 'all'\)"),
        ({"target_modules": ["q_proj", "v_proj", "up_proj"]}, r"lack \['gate_proj', 'down_proj'\]"),
        ({"top_k": 5}, "top_k 5 is larger"),
        ({"lora_alpha": "5"}, r"lora_alpha must be a finite number \(got '5'\)"),
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_named_with_its_value(
    changes: dict[str, Any], named: str, tmp_path: Path, tiny_folder: Path
) -> None:
    write_published(tmp_path, str(tiny_folder))
    (tmp_path / "adapter_config.json").write_text(json.dumps(published_config(str(tiny_folder), **changes)))
    with pytest.raises(FormatError, match=named):
        read_adapter(tmp_path)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path, tiny_folder: Path) -> None:
    config = published_config(str(tiny_folder))
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    whole = random_tensors(config, str(tiny_folder))
    expert = "mixlora.layers.1.mlp.up_proj.experts.2.lora_A.weight"

    def read(tensors: dict[str, Tensor]) -> None:
        save_file(tensors, tmp_path / "adapter_model.safetensors")
        read_adapter(tmp_path)

    read(whole)
    with pytest.raises(FormatError, match=f"{expert} is missing"):
        read({name: tensor for name, tensor in whole.items() if name != expert})
    with pytest.raises(FormatError, match="the tensor classifier is not part"):
        read(whole | {"classifier": torch.zeros(2, 2)})
    with pytest.raises(FormatError, match=rf"{expert} has shape \(2, 32\)"):
        read(whole | {expert: torch.zeros(2, 32)})


class RunsWhenUnpickled:
    """An object that calls a function when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("the pickle ran",)


def test_a_pickle_cannot_run_code(tmp_path: Path, tiny_folder: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(published_config(str(tiny_folder))))
    path = tmp_path / "adapter_model.bin"
    torch.save({"weight": RunsWhenUnpickled()}, path)
    with pytest.raises(FormatError, match=r"adapter_model\.bin cannot be read"):
        read_adapter(tmp_path)
    path.write_bytes(pickle.dumps(RunsWhenUnpickled(), protocol=2))
    with pytest.raises(FormatError, match=r"adapter_model\.bin cannot be read"):
        read_adapter(tmp_path)
    torch.save([1, 2], path)
    with pytest.raises(FormatError, match="something other than named tensors"):
        read_adapter(tmp_path)
