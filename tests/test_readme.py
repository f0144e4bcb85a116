"""The README against the tree: its map names every file, its table every setting, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from service.settings import Settings
from training.__main__ import app, recipe_path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_map_names_every_source_file() -> None:
    start, end = README.index("## Map"), README.index("## Development")
    files = {path for room in ("model_store", "training", "service") for path in (ROOT / room).rglob("*.py")}
    named = set(re.findall(r"[a-z_0-9]+\.py", README[start:end]))
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


def test_every_training_command_of_the_readme_exists() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    used = set(re.findall(r"python -m training ([a-z]+)", README))
    assert used <= commands
    assert used >= {"train", "evaluate", "compare", "publish"}


def test_every_recipe_of_the_readme_ships_and_the_other_way_round() -> None:
    start, end = README.index("| recipe |"), README.index("Base models:")
    named = set(re.findall(r"`([a-z0-9_]+)`", README[start:end])) - {"DATA_DIR"}
    assert named == {path.stem for path in recipe_path("quickstart").parent.glob("*.yaml")}


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    used = set(re.findall(r"^ +make ([a-z-]+)", README, flags=re.MULTILINE))
    assert used <= targets
    assert {"demo", "serve", "test"} <= used
