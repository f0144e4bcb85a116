"""What `uq4ct new-recipe` does: read a user's question files and write a recipe for them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.model_store.uncertainty.conformal import largest_coverage
from uq4ct.model_store.uncertainty.soft_targets import FEWEST_QUESTIONS
from uq4ct.training.console import say
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.splits import Splits
from uq4ct.training.evaluation.decision_fitting import DEFAULT_TARGETS
from uq4ct.training.recipes.own_questions import read_own_file, recipe_for
from uq4ct.training.recipes.template import render_recipe
from uq4ct.training.run_config import ConfigError, RunConfig


def write_recipe(
    recipe: Path, paths: Mapping[str, Path], console: Console, *, method: str, base: str, name: str | None, force: bool
) -> None:
    """Write a recipe for question files, given by their part of the data (`train`, `calibration`, `test`).

    Raises:
        ConfigError: the recipe already exists and `force` is not set, or a setting is invalid.
        DataError, QuestionFileError: a file cannot be used.
    """
    if recipe.exists() and not force:
        raise ConfigError(f"{recipe} already exists: choose another name, or overwrite it with --force")
    files = {part: read_own_file(path) for part, path in paths.items()}
    for file in files.values():
        say(console, file.summary)
    config = recipe_for(files, name=name or _name_of(recipe), method=method, base=base, folder=recipe.parent)
    splits = _show_splits(config, {part: file.path for part, file in files.items()}, console)
    if len(splits.fit) < FEWEST_QUESTIONS:
        say(
            console,
            f"the recipe sets calibration: none, because the fit split has {len(splits.fit)} questions, fewer than the "
            f"{FEWEST_QUESTIONS} that a calibration needs",
        )
        config = config.model_copy(update={"calibration": "none"})
    recipe.parent.mkdir(parents=True, exist_ok=True)
    replace_file(recipe, render_recipe(config, _introduction(recipe, config)).encode())
    say(console, f"wrote {recipe}; next:")
    for command in _next_commands(recipe, config):
        say(console, f"  {command}")


def _name_of(recipe: Path) -> str:
    """Turn the file name into a valid run name."""
    return re.sub(r"[^a-z0-9._-]+", "-", recipe.stem.lower()).lstrip("-._")[:64]


def _show_splits(config: RunConfig, files: Mapping[str, Path], console: Console) -> Splits:
    """Split the questions as a run will, with the paths as typed, and print the sizes of the splits; return them.

    Raises:
        DataError: an id occurs twice, or a split is empty.
    """
    splits, messages = load_splits(config.data.model_copy(update={part: str(path) for part, path in files.items()}))
    for message in messages:
        say(console, message)
    say(console, ", ".join(f"{name}: {len(questions)}" for name, questions in splits.named()))
    coverage = DEFAULT_TARGETS.set_coverage
    if largest_coverage(len(splits.guarantee)) < coverage:
        say(
            console,
            f"warning: {len(splits.guarantee)} questions of the guarantee split are too few for prediction sets of "
            f"coverage {coverage:g}: add questions, or publish with a lower --set-coverage",
        )
    return splits


def _introduction(recipe: Path, config: RunConfig) -> str:
    train, publish = _next_commands(recipe, config)
    return (
        f"A recipe for your own questions. Run `{train}`, then `{publish}`.\n"
        "Every field is listed; a field that you remove takes its default.\n"
        "A relative path is looked up beside this file first, then in the working folder. "
        "${NAME} in a path is an environment variable."
    )


def _next_commands(recipe: Path, config: RunConfig) -> tuple[str, str]:
    return f"uq4ct train {shlex.quote(str(recipe))}", f"uq4ct publish runs/{config.name} --promote"
