"""training/README.md, with a recipe for a tiny model instead of the reader's."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_line import check_command
from tests.readme.conftest import STORE
from tests.readme.examples.training import (
    ADOPT,
    CHECK_BASE,
    COMPARE,
    CSV_FILE,
    EVALUATE,
    EVALUATE_RUN,
    EVALUATE_STORED,
    EVALUATE_UNTRAINED,
    JSONL_FILE,
    MAPPED_DATA,
    PLAN,
    PUBLISH,
    PUBLISH_ISOTONIC,
    PUBLISH_PRODUCTION,
    PUBLISH_WITH_TARGET,
    RECIPE,
    RESUME,
    STUDY,
    STUDY_OF_TWO,
    STUDY_REPORT,
    TO_PEFT,
    TRAIN,
    TRAIN_LORA,
    TRAIN_ON,
    TRAIN_SHIPPED,
)
from tests.readme.pages import RECIPES
from tests.readme.terminal import Terminal
from tests.training.data.test_hub import OPENBOOKQA
from tests.training.tiny_task import write_tiny_task
from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.question_files import read_questions
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data.config import HubTableData
from uq4ct.training.data.csv_file import read_csv
from uq4ct.training.data.hub_table import load as load_hub_table
from uq4ct.training.formats.peft_lora import write_peft
from uq4ct.training.run_config import load_run_config
from uq4ct.training.runs.new_model import load_base_of

EVALUATION = Path("runs/my/evaluation")
CAPITAL = "What is the capital of France?"


@pytest.fixture
def own_recipe(terminal: Terminal, tiny_folder: Path) -> Terminal:
    """A terminal in a checkout with `my.yaml`, which trains a tiny model on the files beside it."""
    for split, count in {"train": 64, "calibration": 120, "test": 16}.items():
        (terminal.folder / f"{split}.jsonl").write_text("".join(_easy_questions(split, count)))
    files = {split: str(terminal.folder / f"{split}.jsonl") for split in ("train", "calibration", "test")}
    recipe = {
        "name": "my",
        "method": "uq4ct",
        "base": {"name": str(tiny_folder), "device": "cpu", "dtype": "float32"},
        "data": {"source": "jsonl", **files},
        "adapter": {"experts": 4, "top_k": 2, "rank": 4, "alpha": 8},
        "optimizer": {"learning_rate": 2e-2},
        "training": {"epochs": 1, "batch_questions": 8},
    }
    (terminal.folder / "my.yaml").write_text(yaml.safe_dump(recipe))
    return terminal


def _easy_questions(split: str, count: int) -> Iterator[str]:
    """Questions that all have the same answer, so that a few steps learn it well enough to reach a target."""
    for index in range(count):
        options = ["red", "blue"] if index % 2 else ["blue", "red"]
        record = {"id": f"{split}-{index}", "question": f"{split} {index}?", "options": options}
        yield json.dumps(record | {"answer": options.index("red")}) + "\n"


@pytest.mark.parametrize(
    "command",
    [
        TRAIN,
        RESUME,
        EVALUATE,
        EVALUATE_RUN,
        EVALUATE_STORED,
        EVALUATE_UNTRAINED,
        COMPARE,
        PUBLISH,
        PUBLISH_PRODUCTION,
        PUBLISH_WITH_TARGET,
        TRAIN_LORA,
        TRAIN_ON,
        PUBLISH_ISOTONIC,
        ADOPT,
        TO_PEFT,
        STUDY,
        STUDY_OF_TWO,
        STUDY_REPORT,
    ],
)
def test_the_arguments_are_taken(command: str) -> None:
    check_command(shlex.split(command, comments=True))


@pytest.mark.slow
def test_a_recipe_of_your_own_becomes_the_production_version(own_recipe: Terminal) -> None:
    run = own_recipe.run
    assert "kept epoch" in run(TRAIN)
    weights = (own_recipe.folder / "runs/my/adapter.safetensors").read_bytes()
    assert "kept epoch" in run(RESUME)
    assert (own_recipe.folder / "runs/my/adapter.safetensors").read_bytes() == weights
    assert "ECE noise floor" in run(EVALUATE)
    assert "ECE noise floor" in run(EVALUATE_RUN)
    assert "ECE noise floor" in run(EVALUATE_UNTRAINED)
    for name, kind in {"A": "calibrated", "B": "raw"}.items():
        shutil.copy(own_recipe.folder / EVALUATION / f"test-{kind}.jsonl", own_recipe.folder / f"{name}.jsonl")
    assert "A.jsonl minus B.jsonl" in run(COMPARE)
    assert "published my@1" in run(PUBLISH)
    assert "my@1" in run(EVALUATE_STORED)
    assert "published my@2" in run(PUBLISH_WITH_TARGET)
    assert "published my@3" in run(PUBLISH_PRODUCTION)
    registry = Registry(own_recipe.folder / STORE)
    assert registry.resolve("my") == ("my", 3)
    abstention = registry.load("my@2").manifest.decisions.abstention
    assert abstention is not None
    assert (abstention.target, abstention.value) == ("risk", 0.1)


def test_a_checkpoint_comes_in_and_goes_out_again(own_recipe: Terminal) -> None:
    config = AdapterConfig(experts=1, top_k=1, rank=2, targets=("q_proj",))
    base = load_base_of(load_run_config(own_recipe.folder / "my.yaml"))
    weights = add_adapter(base, config, ClozeConfig()).adapter_tensors()
    experts = {name: weight for name, weight in weights.items() if ".experts." in name}
    write_peft(own_recipe.folder / "checkpoint", config, experts, "base", None)
    assert "nothing trained here" in own_recipe.run(ADOPT)
    assert "without scoring.log_scale" in own_recipe.run(TO_PEFT)
    tensors = "adapter_model.safetensors"
    files = [own_recipe.folder / side / tensors for side in ("checkpoint", "for-peft")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_shipped_recipe_and_its_change_are_taken() -> None:
    check_command(shlex.split(TRAIN_SHIPPED, comments=True))
    *_, recipe, option, override = shlex.split(TRAIN_SHIPPED, comments=True)
    assert option == "--set"
    unchanged = load_run_config(RECIPES / f"{recipe}.yaml")
    assert load_run_config(RECIPES / f"{recipe}.yaml", (override,)) != unchanged


def test_the_files_of_questions_are_read_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(CSV_FILE)
    (tmp_path / "file.jsonl").write_text(JSONL_FILE)
    france, sun = read_csv(tmp_path / "file.csv").questions
    assert (france.text, france.options, france.answer) == (CAPITAL, ("Madrid", "Paris", "Oslo"), 1)
    assert (sun.options, sun.answer) == (("yes", "no"), 0)
    france, rain = read_questions(tmp_path / "file.jsonl").questions
    assert (france.text, france.options, france.answer) == (CAPITAL, ("Madrid", "Paris", "Oslo"), 1)
    assert (rain.answer, rain.context, rain.subject) == (0, "It rains.", "sky")


def test_the_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(RECIPE)
    config = load_run_config(tmp_path / "my.yaml")
    assert (config.name, config.method, config.data.source) == ("my", "uq4ct", "csv")


def test_the_base_model_is_checked_by_the_verb_of_the_page(own_recipe: Terminal, tiny_folder: Path) -> None:
    done = own_recipe.run(f"{CHECK_BASE.replace('BASE', str(tiny_folder))} --device cpu --dtype float32")
    assert "reads questions packed" in " ".join(done.split())


def test_a_run_is_planned_by_the_verb_of_the_page(own_recipe: Terminal) -> None:
    done = own_recipe.run(PLAN.replace("RECIPE", "my.yaml"))
    assert "of the available memory" in " ".join(done.split())


def test_the_mapping_of_the_page_reads_rows_of_that_data_set(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(yaml.safe_load(RECIPE) | yaml.safe_load(MAPPED_DATA)))
    data = load_run_config(tmp_path / "my.yaml").data
    assert isinstance(data, HubTableData)
    asked: list[tuple[str, str | None, str]] = []

    def load_rows(path: str, name: str | None, split: str, revision: str) -> list[dict[str, Any]]:
        asked.append((path, name, split))
        return [OPENBOOKQA]

    splits = load_hub_table(data, load_rows)
    assert asked == [("allenai/openbookqa", "main", split) for split in ("train", "test", "validation")]
    (question,) = splits.test
    assert (question.text, question.options[question.answer or 0]) == (OPENBOOKQA["question_stem"], "sprouting plants")


@pytest.fixture
def data_dir(shell: Terminal) -> str:
    """A `UQ4CT_DATA_DIR` with a few questions in the folders of ARC."""
    data = shell.folder / "data"
    for name in ("arc_easy", "arc_challenge"):
        (data / name).mkdir(parents=True)
    write_tiny_task(data / "arc_easy", {"train": 16, "validation": 40, "test": 8})
    write_tiny_task(data / "arc_challenge", {"shift": 8})
    (data / "arc_challenge/shift.jsonl").rename(data / "arc_challenge/test.jsonl")
    return str(data)


def _shortened(command: str) -> str:
    return f"{shlex.join(shlex.split(command, comments=True))} --set training.epochs=1"


@pytest.mark.slow
def test_the_shipped_recipe_trains_on_the_embedded_base(shell: Terminal, data_dir: str) -> None:
    assert "kept epoch 1" in shell.run(_shortened(TRAIN_SHIPPED), UQ4CT_DATA_DIR=data_dir)


@pytest.mark.slow
def test_a_method_is_fitted_on_the_run_of_another(shell: Terminal, data_dir: str) -> None:
    assert "kept epoch 1" in shell.run(_shortened(TRAIN_LORA), UQ4CT_DATA_DIR=data_dir)
    said = shell.run(_shortened(TRAIN_ON), UQ4CT_DATA_DIR=data_dir)
    assert "kept epoch 1" in said
    assert "needs lora" not in said
    few = PUBLISH_ISOTONIC.replace("isotonic", "isotonic --allow-weak-calibration", 1)  # 19 questions of the fit split
    assert "published mc-dropout-smollm2@1" in shell.run(few, UQ4CT_DATA_DIR=data_dir)
    manifest = Registry(shell.folder / STORE).load("mc-dropout-smollm2").manifest
    assert (manifest.calibration.kind, manifest.posterior.kind, manifest.posterior.passes) == (
        "isotonic",
        "dropout",
        10,
    )
