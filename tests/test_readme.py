"""The README against the tree: its map names every file, its tables every setting and every recipe."""

from __future__ import annotations

import re

from service.settings import Settings
from tests.readme.blocks import README, ROOT
from tests.readme.examples import MAP
from training.__main__ import recipe_path


def test_the_map_names_every_source_file() -> None:
    files = {path for room in ("model_store", "training", "service") for path in (ROOT / room).rglob("*.py")}
    named = set(re.findall(r"[a-z_0-9]+\.py", MAP))
    present = {path.name for path in files}
    assert present - named == {"__init__.py"} - named
    assert named <= present, "the map names a file that is not there"


def test_the_table_of_settings_is_the_settings_class() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", README, flags=re.MULTILINE))
    defaults = {
        name.upper(): "" if field.default is None else f"`{field.default}`"
        for name, field in Settings.model_fields.items()
    }
    assert rows == defaults


def test_every_recipe_of_the_readme_ships_and_the_other_way_round() -> None:
    start, end = README.index("| recipe |"), README.index("Base models:")
    named = set(re.findall(r"`([a-z0-9_]+)`", README[start:end])) - {"DATA_DIR"}
    assert named == {path.stem for path in recipe_path("quickstart").parent.glob("*.yaml")}
