"""Recipes: every shipped one is valid, and errors name the field."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
