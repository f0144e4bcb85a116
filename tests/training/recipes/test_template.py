"""A rendered recipe is complete, explains every field, and loads back to the same configuration."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from uq4ct.training.recipes.template import render_recipe
from uq4ct.training.run_config import RunConfig, load_run_config

SHIPPED = Path(str(resources.files("uq4ct.training.recipes")))
RECIPES = sorted(path for path in SHIPPED.glob("*.yaml") if not path.stem.startswith("study_"))


def with_options(config: RunConfig) -> RunConfig:
    """Return the configuration with every option of its method set."""
    return config.model_copy(update={"options": config.method_options().model_dump(mode="json")})


def fields_of(model: BaseModel, place: str = "") -> Iterator[str]:
    """Yield every field of a configuration and of its sections, as `section.field`."""
    for name in type(model).model_fields:
        yield f"{place}{name}"
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from fields_of(value, f"{place}{name}.")


def keys_of(record: dict[str, Any], config: Any, place: str = "") -> Iterator[str]:
    for name, value in record.items():
        yield f"{place}{name}"
        section = getattr(config, name)
        if isinstance(section, BaseModel):
            yield from keys_of(value, section, f"{place}{name}.")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_rendered_recipe_is_complete_and_the_same(path: Path, tmp_path: Path) -> None:
    config = with_options(load_run_config(path))
    text = render_recipe(config, "An introduction.\nOf two lines.")
    assert text.startswith("# An introduction.\n# Of two lines.\n\n")
    (tmp_path / "made.yaml").write_text(text, encoding="utf-8")
    assert load_run_config(tmp_path / "made.yaml") == config
    assert sorted(keys_of(yaml.safe_load(text), config)) == sorted(fields_of(config))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_field_has_a_comment(path: Path) -> None:
    """A field without a description in the configuration would show only its default, or nothing."""
    lines = render_recipe(with_options(load_run_config(path)), "An introduction.").splitlines()
    for above, line in pairwise(lines):
        if line and not line.lstrip().startswith("#"):
            assert above.lstrip().startswith("# "), line
            assert not above.lstrip().startswith("# default:"), line


def test_a_field_is_explained_by_its_description_range_and_default() -> None:
    (path,) = [path for path in RECIPES if path.stem == "laplace_smollm2"]
    text = render_recipe(with_options(load_run_config(path)), "An introduction.")
    for explained in (
        "  # peak learning rate, per optimizer step; above 0; default: 0.0002\n  learning_rate: 0.0005\n",
        "  # share of all steps used for linear warm-up; at least 0 and below 1; default: 0.06\n  warmup_share: 0.06\n",
        "  # shape of the decay to 0 after warm-up; one of none, linear, cosine; default: linear\n  decay: linear\n",
        "  # eigenvectors kept of the inputs of A and the outputs of B; at least 1; default: 10\n  factor_rank: 10\n",
    ):
        assert explained in text
