"""Foreign adapters, adopted and published, answer as in their own programs; ours are exported to PEFT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from rich.console import Console
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.command_line import uq4ct
from tests.training.conftest import MakeConfig
from tests.training.formats.authors_mixlora import load_published
from tests.training.formats.mixlora_layout import write_published
from tests.training.formats.peft_checkpoint import write_with_peft
from tests.training.publishing import publish_tiny_run
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.context import adapter_forward
from uq4ct.model_store.published import load_predictor
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data.loading import load_splits
from uq4ct.training.formats import read_adapter
from uq4ct.training.formats.foreign import FormatError
from uq4ct.training.run_config import ConfigError, parse_run_config
from uq4ct.training.runs.adopt import adopt_checkpoint, adopting_config, export_run
from uq4ct.training.runs.folder import claim_folder
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.records import RunError, read_run
from uq4ct.training.runs.train import train_run

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

Forward = Callable[[Tensor], Tensor]


@pytest.fixture
def recipe(make_config: MakeConfig) -> dict[str, Any]:
    """A recipe for another method."""
    config = make_config("uq4ct", scoring={"kind": "letter"}, adapter={"feu_tokens": "prompt_and_options"})
    return config.model_dump(mode="json", exclude={"adopted"})


def peft_checkpoint(folder: Path, base: Path) -> Forward:
    """Write a PEFT checkpoint to the folder, and return a function for PEFT's logits [1, T, V]."""
    model = write_with_peft(folder, base)
    return lambda tokens: model(tokens, use_cache=False).logits


def mixlora_checkpoint(folder: Path, base: Path) -> Forward:
    """Write a MixLoRA checkpoint to the folder, and return a function for its authors' logits [1, T, V]."""
    model = load_published(write_published(folder, str(base)))
    return lambda tokens: model(tokens, use_cache=False).logits


@pytest.mark.parametrize(("write", "method"), [(peft_checkpoint, "lora"), (mixlora_checkpoint, "mixlora")])
def test_an_adopted_adapter_is_published_and_answers_as_in_its_makers_program(
    write: Callable[[Path, Path], Forward],
    method: str,
    recipe: dict[str, Any],
    tmp_path: Path,
    tiny_folder: Path,
    quiet: Console,
) -> None:
    theirs = write(tmp_path / "foreign", tiny_folder)
    adopt_checkpoint(tmp_path / "foreign", recipe, "recipe", tmp_path / "run", quiet)
    registry = Registry(tmp_path / "store")
    manifest = publish_tiny_run(tmp_path / "run", registry, quiet, calibration="none").manifest
    assert manifest.method == method
    assert manifest.provenance.splits.train == 0
    assert manifest.provenance.recipe["adopted"] == {
        "format": read_adapter(tmp_path / "foreign").format,
        "digest": read_adapter(tmp_path / "foreign").digest,
        "base": str(tiny_folder),
    }

    predictor = load_predictor(manifest.reference, registry.root, device="cpu", dtype="float32")
    letters = load_run(tmp_path / "run").model.scorer.get_buffer("letter_ids")
    for question in load_splits(parse_run_config(manifest.provenance.recipe, "manifest").data)[0].test[:4]:
        encoded = predictor.encode(question)
        (answer,) = predictor.answer([encoded])
        with torch.no_grad():
            logits = theirs(torch.tensor([encoded.tokens]))[0, -1, letters[: len(question.options)]]
        assert answer.probabilities == pytest.approx(torch.softmax(logits, dim=0).tolist(), abs=1e-5)
        assert (answer.feu is None) == (method == "lora")


def test_the_record_of_an_adopted_run_says_that_nothing_was_trained(
    recipe: dict[str, Any], tmp_path: Path, tiny_folder: Path, quiet: Console
) -> None:
    peft_checkpoint(tmp_path / "foreign", tiny_folder)
    result = adopt_checkpoint(tmp_path / "foreign", recipe, "recipe", tmp_path / "run", quiet)
    assert (result.steps, result.tokens, result.seconds, result.train) == (0, 0, 0.0, 0)
    assert (result.fit_nll, result.kept_epoch) == ((), 0)
    run = load_run(tmp_path / "run")
    splits = load_splits(run.config.data)[0]
    assert (result.fit, result.test, result.data_digest) == (len(splits.fit), len(splits.test), splits.digest)
    assert run.config.training.epochs == 0
    assert run.config.adopted is not None
    assert run.config.adapter == AdapterConfig(
        experts=1,
        top_k=1,
        rank=3,
        alpha=5,
        dropout=0.1,
        targets=("q_proj", "v_proj", "down_proj"),
        feu_tokens="prompt_and_options",
    )
    with pytest.raises(RunError, match="cannot be trained: make it with `adopt`"):
        train_run(run.config, tmp_path / "other", quiet)
    with pytest.raises(RunError, match="already holds a run"):
        adopt_checkpoint(tmp_path / "foreign", recipe, "recipe", tmp_path / "run", quiet)


def test_a_checkpoint_is_adopted_into_the_folder_of_a_failed_start_only(
    make_config: MakeConfig, tmp_path: Path, tiny_folder: Path, quiet: Console
) -> None:
    peft_checkpoint(tmp_path / "foreign", tiny_folder)
    recipe = make_config("lora").model_dump(mode="json", exclude={"adopted"})
    (tmp_path / "config.json").write_text("{}")  # of another program
    with pytest.raises(RunError, match=r"config\.json cannot be read"):
        adopt_checkpoint(tmp_path / "foreign", recipe, "recipe", tmp_path, quiet)
    assert (tmp_path / "config.json").read_text() == "{}"
    claim_folder(tmp_path / "run", make_config("lora"), resume=False)
    result = adopt_checkpoint(tmp_path / "foreign", recipe, "recipe", tmp_path / "run", quiet)
    assert read_run(tmp_path / "run")[1] == result


def test_a_method_is_fitted_on_an_adopted_adapter(
    make_config: MakeConfig, tmp_path: Path, tiny_folder: Path, quiet: Console
) -> None:
    peft_checkpoint(tmp_path / "foreign", tiny_folder)
    options = {"samples": 3}
    recipe = make_config("mc_dropout", options=options).model_dump(mode="json", exclude={"adopted"})
    result = adopt_checkpoint(tmp_path / "foreign", recipe, "recipe", tmp_path / "run", quiet)
    assert (result.steps, result.fit_nll, result.kept_epoch) == (0, (), 0)
    assert (result.posterior.kind, result.posterior.passes) == ("dropout", 3)
    registry = Registry(tmp_path / "store")
    manifest = publish_tiny_run(tmp_path / "run", registry, quiet).manifest
    assert manifest.method == "mc_dropout"
    tensors = registry.load(manifest.reference).tensors
    assert all(
        torch.equal(tensors[name], tensor) for name, tensor in read_adapter(tmp_path / "foreign").tensors.items()
    )


def test_a_posterior_is_not_exported_in_part(make_config: MakeConfig, tmp_path: Path, quiet: Console) -> None:
    """A PEFT checkpoint of an ensemble would contain only the first member."""
    config = make_config("ensemble", options={"members": 2}, training={"epochs": 1}, scoring={"kind": "letter"})
    train_run(config, tmp_path / "run", quiet)
    with pytest.raises(FormatError, match="has a posterior, 'ensemble', which"):
        export_run(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("section", ["adapter", "training"])
def test_an_empty_section_is_named(section: str, recipe: dict[str, Any], tmp_path: Path, tiny_folder: Path) -> None:
    peft_checkpoint(tmp_path / "foreign", tiny_folder)
    with pytest.raises(ConfigError, match=rf"recipe: {section} must be a section \(got None\)"):
        adopting_config(recipe | {section: None}, read_adapter(tmp_path / "foreign"), "recipe")


def test_several_runs_are_not_made_of_one_checkpoint(
    make_config: MakeConfig, tmp_path: Path, tiny_folder: Path, quiet: Console
) -> None:
    peft_checkpoint(tmp_path / "foreign", tiny_folder)
    for method, sections, complaint in (
        ("ensemble", {"options": {"members": 3}}, "method 'ensemble' is fitted on several runs"),
        ("checkpoint_ensemble", {"training": {"snapshots": 4}, "options": {"first_snapshot": 2}}, "snapshots"),
    ):
        recipe = make_config(method, **sections).model_dump(mode="json", exclude={"adopted"})
        with pytest.raises(ConfigError, match=complaint):
            adopt_checkpoint(tmp_path / "foreign", recipe, "recipe", tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_no_recipe_trains_for_no_epoch(recipe: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"training\.epochs is 0: must be 0 for an adopted run, at least 1"):
        parse_run_config(recipe | {"training": {"epochs": 0}}, "recipe")


def test_an_adapter_of_another_base_is_refused_and_leaves_nothing(
    recipe: dict[str, Any], tmp_path: Path, make_base_folder: Callable[..., Path], quiet: Console
) -> None:
    deeper = make_base_folder(tmp_path / "deeper", num_hidden_layers=3)
    wider = make_base_folder(tmp_path / "wider", hidden_size=64)
    for name, base, complaint in (("deep", deeper, "6 names differ"), ("wide", wider, "has shape")):
        peft_checkpoint(tmp_path / name, base)
        with pytest.raises(FormatError, match=f"does not fit the base model: .*{complaint}"):
            adopt_checkpoint(tmp_path / name, recipe, "recipe", tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_a_block_with_another_activation_is_refused(
    recipe: dict[str, Any], tmp_path: Path, tiny_folder: Path, quiet: Console
) -> None:
    write_published(tmp_path / "foreign", str(tiny_folder), act_fn="gelu")
    with pytest.raises(FormatError, match=r"act_fn is 'gelu'; the feed-forward block of .* uses 'silu'"):
        adopt_checkpoint(tmp_path / "foreign", recipe, "recipe", tmp_path / "run", quiet)


def test_a_trained_run_of_lora_goes_out_to_peft_and_comes_home(
    make_config: MakeConfig, tmp_path: Path, tiny_folder: Path, quiet: Console
) -> None:
    config = make_config("lora", training={"epochs": 1})
    train_run(config, tmp_path / "run", quiet)
    assert export_run(tmp_path / "run", tmp_path / "out") == ["scoring.log_scale"]
    trained = load_run(tmp_path / "run").model
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folder), str(tmp_path / "out")).eval()
    tokens = torch.tensor([[5, 30, 77, 120, 8, 300]])
    with torch.no_grad(), adapter_forward("default"):
        torch.testing.assert_close(
            trained.eval().tuner.model(tokens, use_cache=False).logits,
            model(tokens, use_cache=False).logits,
            rtol=0,
            atol=1e-5,
        )
    record = config.model_dump(mode="json", exclude={"adopted"})
    adopt_checkpoint(tmp_path / "out", record, "recipe", tmp_path / "home", quiet)
    ours, home = trained.adapter_tensors(), load_run(tmp_path / "home").model.adapter_tensors()
    assert all(torch.equal(home[name], ours[name]) for name in ours if name != "scoring.log_scale")


def test_only_plain_lora_is_exported(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="an adapter with 4 experts cannot be exported"):
        export_run(finished_run, tmp_path / "out")
    with pytest.raises(RunError, match="holds no finished run"):
        export_run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_commands_adopt_and_export(recipe: dict[str, Any], tmp_path: Path, tiny_folder: Path) -> None:
    peft_checkpoint(tmp_path / "foreign", tiny_folder)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    run, out = tmp_path / "run", tmp_path / "out"
    options = ["--recipe", str(path), "--set", "name=from-elsewhere", "--output", str(run)]
    said = uq4ct(["adopt", str(tmp_path / "foreign"), *options])
    assert said.exit_code == 0
    assert load_run(run).config.name == "from-elsewhere"
    said = uq4ct(["export", str(run), str(out)])
    assert said.exit_code == 0
    before, after = read_adapter(tmp_path / "foreign"), read_adapter(out)
    assert after.config == before.config
    assert all(torch.equal(after.tensors[name], tensor) for name, tensor in before.tensors.items())
