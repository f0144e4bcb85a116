"""Recipes: every shipped one is valid, and errors name the field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from uq4ct.training.run_config import ConfigError, OptimizerConfig, RunConfig, load_run_config
from uq4ct.training.runs.loop import learning_rate_share

SHIPPED = Path(str(resources.files("uq4ct.training.recipes")))
RECIPES = sorted(path for path in SHIPPED.glob("*.yaml") if not path.stem.startswith("study_"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_lossless_in_json(path: Path) -> None:
    config = load_run_config(path)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("optimizer.learning_rate=-1", "optimizer.learning_rate"),
        ("optimizer.lerning_rate=1", "optimizer.lerning_rate"),
        ("adapter.top_k=9", "top_k 9 is larger than the number of experts 8"),
        ("training.accumulation=3", "accumulation 3 must divide batch_questions 16"),
        ("method=adapters", "method 'adapters' is not one of"),
        ("method=lora", "adapter.experts is 8"),
        ("method=mixlora", "loss.calibration is 1.0"),
        ("loss.calibration=0", "loss.calibration is 0"),
        ("data.source=cloud", "data"),
        ("scoring.kind=guess", "scoring"),
        ("name=../x", "name"),
        ("adapter.experts.more=1", "experts"),
        ("adapter.top_k=8", "adapter.top_k is 8 of 8 experts"),
        ("nonsense", "not of the form section.field=value"),
        ("training.seed=[", "override 'training.seed=[': the value cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_named(override: str, named: str) -> None:
    (path,) = [path for path in RECIPES if path.stem == "quickstart"]
    with pytest.raises(ConfigError, match=re.escape(named)):
        load_run_config(path, (override,))


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("quickstart", "optimiser.learning_rate=1", "optimiser: unknown key, did you mean optimizer?"),
        ("quickstart", "lerning_rate=1", "lerning_rate: unknown key (got 1), allowed are name, method, base, data, "),
        ("quickstart", "learning_rate=1", "unknown key (got 1), did you mean optimizer.learning_rate?"),
        ("quickstart", "device=cuda", "device: unknown key (got 'cuda'), did you mean base.device?"),
        ("quickstart", "data.sead=1", "data.sead: unknown key (got 1), did you mean seed?"),
        ("quickstart", "options.x=1", "options.x: unknown key (got 1), none is allowed"),
        ("lora_smollm2", "data.trian=1", "data.trian: unknown key (got 1), did you mean train?"),
        ("lora_smollm2", "scoring.max_token=9", "scoring.max_token: unknown key (got 9), did you mean max_tokens?"),
        ("tfb_smollm2", "options.sampels=9", "options.sampels: unknown key (got 9), did you mean samples?"),
    ],
)
def test_an_unknown_key_is_answered_with_the_key_that_was_meant(recipe: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_run_config(SHIPPED / f"{recipe}.yaml", (override,))


def sections(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield each section of a configuration with its keys."""
    if isinstance(value, BaseModel):
        yield path, list(type(value).model_fields)
        for name in type(value).model_fields:
            yield from sections(getattr(value, name), (*path, name))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_key_of_a_recipe_is_found_by_a_doubled_letter(path: Path) -> None:
    count = 0
    for section, keys in sections(load_run_config(path)):
        for key in keys:
            with pytest.raises(ConfigError, match=rf"unknown key .*did you mean (\w+\.)*{key}\?"):
                load_run_config(path, (f"{'.'.join((*section, key + key[-1]))}=1",))
            count += 1
    assert count > 40


def test_a_wrong_value_is_blamed_on_the_option_that_sets_it() -> None:
    path = SHIPPED / "quickstart.yaml"
    overrides = ("optimizer.learning_rate=-1", "training.seed=3", "training.accumulation=3")
    with pytest.raises(ConfigError) as raised:
        load_run_config(path, overrides)
    assert str(raised.value) == (
        "--set optimizer.learning_rate=-1: optimizer.learning_rate: Input should be greater than 0 (got -1); "
        f"--set training.seed=3 --set training.accumulation=3 on {path}: "
        "training: accumulation 3 must divide batch_questions 16"
    )
    with pytest.raises(ConfigError, match=r"^--set training=\{epochs: -1\}: training\.epochs: Input should be"):
        load_run_config(path, ("training={epochs: -1}",))


def test_a_wrong_value_of_a_recipe_is_blamed_on_the_recipe_whatever_the_options_set(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nmethod: uq4ct\ndata: {source: facts}\ntraining: {seed: -1}\n")
    with pytest.raises(ConfigError) as raised:
        load_run_config(path, ("training.epochs=2",))
    assert str(raised.value) == f"{path}: training.seed: Input should be greater than or equal to 0 (got -1)"


def test_a_checkpoint_ensemble_has_two_members_before_anything_is_trained() -> None:
    (path,) = [path for path in RECIPES if path.stem == "checkpoint_ensemble_smollm2"]
    with pytest.raises(ConfigError, match=r"snapshots is 6 and options\.first_snapshot 6: that leaves 1 members"):
        load_run_config(path, ("options.first_snapshot=6",))


def test_a_shift_set_has_a_name_of_its_own() -> None:
    (path,) = [path for path in RECIPES if path.stem == "lora_smollm2"]
    with pytest.raises(ConfigError, match="shift: 'test' is the name of a split"):
        load_run_config(path, ("data.shift={test: other.jsonl}",))


def test_a_recipe_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="a recipe must be a mapping"):
        load_run_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_run_config(tmp_path / "missing.yaml")


@given(st.integers(1, 500), st.floats(0, 0.9), st.sampled_from(["none", "linear", "cosine"]))
def test_the_learning_rate_rises_to_its_peak_and_falls(steps: int, warmup: float, decay: str) -> None:
    config = OptimizerConfig(warmup_share=warmup, decay=decay)  # type: ignore[arg-type]
    shares = [learning_rate_share(config, step, steps) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    peak = shares.index(max(shares))
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
