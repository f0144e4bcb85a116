"""`uq4ct check-base` says what a base model is, how it reads questions, and where adapters go."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from tests.command_line import uq4ct
from tests.model_store.base.families import FAMILY
from uq4ct.model_store.base.models import load_base_model
from uq4ct.training.evaluation.base_report import describe_base


def test_the_report_names_layout_and_linears(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    folder = FAMILY["qwen3_5_text"].save(tmp_path, tiny_tokenizer)
    base = load_base_model(str(folder), device="cpu", dtype="float32")
    identity, size, reading, attention, feed_forward, cloze, letter = describe_base(base)
    assert identity == f"{folder}: family qwen3_5_text, {base.identity.digest}"
    parameters = sum(parameter.numel() for parameter in base.model.parameters())
    assert size == f"{parameters:,} parameters, {4 * parameters / 1e9:.2f} GB in float32 on cpu"
    assert reading.startswith(
        "questions of up to 1,024 tokens; reads questions rows (difference from texts read alone: "
    )
    linear = ["out_proj", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a"]
    assert attention == f"targets of attention: {', '.join([*linear, 'q_proj', 'k_proj', 'v_proj', 'o_proj'])}"
    assert feed_forward == "targets of feed_forward: gate_proj, up_proj, down_proj"
    assert cloze == "cloze scoring: possible"
    assert letter == "letter scoring: possible"


def test_a_mixture_of_experts_has_no_targets_in_its_feed_forward_blocks(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    base = load_base_model(str(FAMILY["qwen3_moe"].save(tmp_path, tiny_tokenizer)), device="cpu", dtype="float32")
    assert "targets of feed_forward: none" in list(describe_base(base))


def test_the_verb_prints_it_and_an_error_is_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    done = uq4ct(["check-base", str(tiny_folder), "--device", "cpu", "--dtype", "float32"])
    assert done.exit_code == 0, done.output
    assert "reads questions packed" in done.output.replace("\n", " ")
    done = uq4ct(["check-base", str(tmp_path / "missing.gguf")])
    assert done.exit_code == 1
    assert "missing.gguf' cannot be read: No such file" in done.output.replace("\n", " ")
