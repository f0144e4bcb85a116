"""What comes before training: `uq4ct new-recipe`, `uq4ct fetch` and `uq4ct questions`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from uq4ct.model_store.base.models import EMBEDDED, find_base_files
from uq4ct.model_store.uncertainty.conformal import largest_coverage
from uq4ct.training.commands.options import RecipeArgument, SetOption, console
from uq4ct.training.console import say
from uq4ct.training.data.jsonl import write_jsonl
from uq4ct.training.data.loading import load_splits
from uq4ct.training.evaluation.decision_fitting import DEFAULT_TARGETS
from uq4ct.training.recipes.own_questions import read_own_file, recipe_for
from uq4ct.training.recipes.shipped import find_recipe
from uq4ct.training.recipes.template import render_recipe
from uq4ct.training.run_config import ConfigError, RunConfig, load_run_config


def new_recipe(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    recipe: Annotated[Path, typer.Argument(help="recipe to write, e.g. my.yaml")],
    train: Annotated[Path, typer.Option(help="labelled questions: a .csv or .jsonl file")],
    calibration: Annotated[Path | None, typer.Option(help="questions to calibrate on; else a share of train")] = None,
    test: Annotated[Path | None, typer.Option(help="questions to test on; else a share of train")] = None,
    method: Annotated[str, typer.Option(help="one of the methods of the README")] = "uq4ct",
    base: Annotated[str, typer.Option(help="embedded name, folder or hub id of the base model")] = EMBEDDED,
    name: Annotated[str | None, typer.Option(help="of the run and the adapter; default: as the recipe")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the recipe if it is there")] = False,
) -> None:
    """Write a recipe for questions of your own in a file.

    The files are read at once, so that a mistake in them shows here. Every field of the recipe is explained in it.
    """
    if recipe.exists() and not force:
        raise ConfigError(f"{recipe} exists already: choose another name, or replace it with --force")
    files = {part: read_own_file(path) for part, path in _given(train, calibration, test).items()}
    for file in files.values():
        say(console, file.summary)
    config = recipe_for(files, name=name or _name_of(recipe), method=method, base=base, folder=recipe.parent)
    _show_splits(config, {part: file.path for part, file in files.items()})
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(render_recipe(config, _introduction(recipe, config)), encoding="utf-8")
    say(console, f"{recipe} is written; next:")
    for command in _next_commands(recipe, config):
        say(console, f"  {command}")


def fetch(
    name: Annotated[str, typer.Argument(help="embedded name, folder or hub id")] = EMBEDDED,
    revision: Annotated[str | None, typer.Option(help="commit or tag of a hub id")] = None,
) -> None:
    """Fetch and convert a base model ahead of time."""
    files = find_base_files(name, revision)
    say(console, f"{files.identity.name} {files.identity.digest} in {files.folder}")


def questions(
    recipe: RecipeArgument,
    output: Annotated[Path, typer.Argument(help="file to write, with a JSON object a line")],
    split: Annotated[str, typer.Option(help="train, fit, guarantee, test, or the name of a shift")] = "test",
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Write the questions of a recipe's split with their answers.

    `uq4ct replay` and other programs read them.
    """
    splits, _ = load_splits(load_run_config(find_recipe(recipe), tuple(overrides)).data)
    chosen = splits.select(split)
    write_jsonl(output, chosen)
    say(console, f"{len(chosen)} questions in {output}")


def _given(train: Path, calibration: Path | None, test: Path | None) -> dict[str, Path]:
    files = {"train": train, "calibration": calibration, "test": test}
    return {part: path for part, path in files.items() if path is not None}


def _name_of(recipe: Path) -> str:
    """The file's name in the characters that the name of a run may have."""
    return re.sub(r"[^a-z0-9._-]+", "-", recipe.stem.lower()).lstrip("-._")[:64]


def _show_splits(config: RunConfig, files: Mapping[str, Path]) -> None:
    """Divide the questions as a run will, with the paths as they were typed, and print what comes of it.

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


def _introduction(recipe: Path, config: RunConfig) -> str:
    train, publish = _next_commands(recipe, config)
    return (
        f"A recipe for your own questions: {train}, then {publish}.\n"
        "Every field is here; one that you remove has its default.\n"
        "A relative path is looked up beside this file first, then in the folder in which the command runs. "
        "${NAME} in a path is an environment variable."
    )


def _next_commands(recipe: Path, config: RunConfig) -> tuple[str, str]:
    return f"uq4ct train {shlex.quote(str(recipe))}", f"uq4ct publish runs/{config.name} --promote"
