"""PEFT's checkpoints read here and ours opened in PEFT give the same answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.training.formats.peft_checkpoint import write_with_peft
from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.adapters.config import LINEAR_TARGETS, AdapterConfig
from uq4ct.model_store.adapters.context import adapter_forward
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.scoring.config import LetterConfig
from uq4ct.training.formats import read_adapter
from uq4ct.training.formats.foreign import FormatError
from uq4ct.training.formats.peft_lora import write_peft

# PEFT itself calls a deprecated method of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TOKENS = torch.tensor([[5, 30, 77, 120, 8, 300], [9, 9, 41, 250, 3, 17]])
CONFIG_FILE, TENSOR_FILE = "adapter_config.json", "adapter_model.safetensors"


def our_model(base_folder: Path, config: AdapterConfig) -> AdaptedModel:
    base = load_base_model(str(base_folder), device="cpu", dtype="float32")
    return add_adapter(base, config, LetterConfig()).eval()


def our_logits(model: AdaptedModel) -> Tensor:
    """Logits in float64, where the order of the sums, which depends on the processor, does not show."""
    with torch.no_grad(), adapter_forward("default"):
        return model.double().tuner.model(TOKENS, use_cache=False).logits


def peft_logits(model: PeftModel) -> Tensor:
    with torch.no_grad():
        return model.double()(TOKENS, use_cache=False).logits


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"target_modules": list(LINEAR_TARGETS)},
        {"target_modules": r".*\.(q|k)_proj"},
        {"target_modules": "all-linear", "init_lora_weights": "gaussian"},
    ],
    ids=str,
)
def test_a_checkpoint_of_peft_answers_here_as_there(
    settings: dict[str, Any], tmp_path: Path, tiny_folder: Path
) -> None:
    theirs = write_with_peft(tmp_path, tiny_folder, **settings)
    foreign = read_adapter(tmp_path)
    ours = our_model(tiny_folder, foreign.config)
    untouched = our_logits(ours)
    ours.load_adapter_tensors(foreign.tensors)
    expected = peft_logits(theirs)
    assert (expected - untouched).abs().max() > 1
    torch.testing.assert_close(our_logits(ours), expected, rtol=0, atol=1e-9)
    assert (foreign.format, foreign.base, foreign.config.experts) == ("peft", str(tiny_folder), 1)


def test_our_checkpoint_answers_in_peft_as_here(tmp_path: Path, tiny_folder: Path, make_model: Any) -> None:
    base = load_base_model(str(tiny_folder), device="cpu", dtype="float32")
    ours = make_model(base, LetterConfig(), experts=1, top_k=1, rank=3, alpha=4.5, dropout=0.25)
    write_peft(tmp_path, ours.config, ours.adapter_tensors(), str(tiny_folder), None)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folder), str(tmp_path)).eval()
    torch.testing.assert_close(our_logits(ours), peft_logits(theirs), rtol=0, atol=1e-9)
    again = read_adapter(tmp_path)
    assert again.config == ours.config.model_copy(update={"targets": LINEAR_TARGETS})
    assert set(again.tensors) == set(ours.adapter_tensors())
    assert all(torch.equal(again.tensors[name], weight) for name, weight in ours.adapter_tensors().items())


def test_what_peft_wrote_is_written_again_by_the_same_names(tmp_path: Path, tiny_folder: Path) -> None:
    write_with_peft(tmp_path / "theirs", tiny_folder)
    foreign = read_adapter(tmp_path / "theirs")
    write_peft(tmp_path / "ours", foreign.config, foreign.tensors, "base", "commit")
    theirs, ours = (load_file(tmp_path / side / TENSOR_FILE) for side in ("theirs", "ours"))
    assert set(theirs) == set(ours)
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    config = json.loads((tmp_path / "ours" / CONFIG_FILE).read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("base", "commit")
    assert config["lora_alpha"] == 5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"bias": "lora_only"}, "bias is 'lora_only'"),
        ({"lora_bias": True}, "lora_bias is True"),
        ({"use_dora": True}, "use_dora is True"),
        ({"use_qalora": True}, "use_qalora is True"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is True"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern is {'q_proj': 8}"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern is {'q_proj': 8}"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\]"),
        ({"layers_to_transform": [0]}, r"layers_to_transform is \[0\]"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"target_parameters": ["mlp.experts"]}, "target_parameters"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"a_field_of_tomorrow": 1}, "a_field_of_tomorrow is 1"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base model"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights is 'loftq'"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'"),
        ({"peft_type": "IA3"}, "peft_type 'IA3' is not one of LORA, MIXLORA"),
        ({"r": 4}, r"has shape \(3, 48\), but the configuration says \(4, None\)"),
        ({"r": 4000}, r"adapter_config\.json: r: Input should be less .*\(got 4000\)"),
        ({"lora_alpha": 0}, r"lora_alpha: Input should be greater .*\(got 0(\.0)?\)"),
        ({"lora_alpha": None}, r"lora_alpha must be a finite number \(got None\)"),
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_named_with_its_value(
    changes: dict[str, Any], named: str, tmp_path: Path, tiny_folder: Path
) -> None:
    write_with_peft(tmp_path, tiny_folder)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config | changes))
    with pytest.raises(FormatError, match=named):
        read_adapter(tmp_path)


def test_what_is_adapted_beyond_the_layers_linears_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.warns(UserWarning, match="save_embedding_layers"):
        write_with_peft(tmp_path, tiny_folder, target_modules=["q_proj", "lm_head"])
    with pytest.raises(FormatError, match="target 'lm_head' is not in a numbered layer"):
        read_adapter(tmp_path)
    write_with_peft(tmp_path, tiny_folder, target_modules=["layers.0.self_attn.q_proj", "v_proj"])
    with pytest.raises(FormatError, match=r"model\.layers\.1 has no adapter on \['q_proj'\], but other layers"):
        read_adapter(tmp_path)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path, tiny_folder: Path) -> None:
    write_with_peft(tmp_path, tiny_folder)
    whole = load_file(tmp_path / TENSOR_FILE)
    name = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"
    save_file({key: tensor for key, tensor in whole.items() if key != name}, tmp_path / TENSOR_FILE)
    with pytest.raises(FormatError, match=f"{name} is missing"):
        read_adapter(tmp_path)
    save_file(whole | {"base_model.model.score.weight": torch.zeros(2)}, tmp_path / TENSOR_FILE)
    with pytest.raises(FormatError, match=r"score\.weight is not part of plain LoRA"):
        read_adapter(tmp_path)


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"adapter_config\.json cannot be read"):
        read_adapter(tmp_path)
    (tmp_path / CONFIG_FILE).write_text("[]")
    with pytest.raises(FormatError, match="is not a JSON object"):
        read_adapter(tmp_path)
    (tmp_path / CONFIG_FILE).write_text('{"peft_type": "LORA"}')
    with pytest.raises(FormatError, match=r"contains neither adapter_model\.safetensors nor adapter_model\.bin"):
        read_adapter(tmp_path)
    (tmp_path / TENSOR_FILE).write_bytes(b"no tensors")
    with pytest.raises(FormatError, match="cannot be read"):
        read_adapter(tmp_path)
    save_file({}, tmp_path / TENSOR_FILE)
    with pytest.raises(FormatError, match=r"adapter_config\.json lacks the field r"):
        read_adapter(tmp_path)


def test_routed_experts_have_no_place_in_peft(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="an adapter with 8 experts cannot be exported"):
        write_peft(tmp_path, AdapterConfig(), {}, "base", None)
    with pytest.raises(FormatError, match=r"cannot store scoring\.log_scale"):
        write_peft(tmp_path, AdapterConfig(experts=1, top_k=1), {"scoring.log_scale": torch.zeros(())}, "base", None)
    assert list(tmp_path.iterdir()) == []
