"""The README against the tree: its map names every file, its tables every setting and every recipe."""

from __future__ import annotations

import re
from typing import get_args

from tests.readme.blocks import README, sections
from uq4ct.service.settings import Settings
from uq4ct.training.methods import METHODS
from uq4ct.training.recipes.shipped import find_recipe
from uq4ct.training.run_config import CalibrationName, load_run_config

METHOD_ROWS = dict(re.findall(r"^\| `(\w+)` \|.*\| `(\w+)` \|$", sections()["Methods"], flags=re.MULTILINE))


def test_the_table_of_settings_is_the_settings_class() -> None:
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \|", README, flags=re.MULTILINE))
    defaults = {
        f"UQ4CT_{name.upper()}": "" if field.default is None else f"`{field.default}`"
        for name, field in Settings.model_fields.items()
    }
    assert rows == defaults


def test_every_recipe_of_the_readme_ships_and_the_other_way_round() -> None:
    start, end = README.index("| recipe |"), README.index("Base models:")
    named = set(re.findall(r"`([a-z0-9_]+)`", README[start:end])) - {"DATA_DIR"}
    named |= set(METHOD_ROWS.values())
    assert named == {path.stem for path in find_recipe("quickstart").parent.glob("*.yaml")}


def test_the_table_of_methods_has_each_with_a_recipe_of_its_own() -> None:
    assert set(METHOD_ROWS) == set(METHODS)
    for method, recipe in METHOD_ROWS.items():
        assert load_run_config(find_recipe(recipe)).method == method


def test_the_table_of_calibrations_is_what_a_recipe_may_say() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", sections()["Methods"], flags=re.MULTILINE)
    assert rows == list(get_args(CalibrationName))
