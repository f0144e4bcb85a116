"""The steps before training: `uq4ct new-recipe`, `uq4ct fetch` and `uq4ct questions`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from uq4ct.model_store.base.models import EMBEDDED, find_base_files
from uq4ct.model_store.uncertainty.conformal import largest_coverage
from uq4ct.model_store.uncertainty.soft_targets import FEWEST_QUESTIONS
from uq4ct.training.commands.options import RecipeArgument, SetOption, console
from uq4ct.training.console import say
from uq4ct.training.data.jsonl import write_jsonl
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.splits import Splits
from uq4ct.training.evaluation.decision_fitting import DEFAULT_TARGETS
from uq4ct.training.recipes.own_questions import read_own_file, recipe_for
from uq4ct.training.recipes.shipped import find_recipe
from uq4ct.training.recipes.template import render_recipe
from uq4ct.training.run_config import ConfigError, RunConfig, load_run_config


def new_recipe(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    recipe: Annotated[Path, typer.Argument(help="recipe to write, e.g. my.yaml")],
    train: Annotated[Path, typer.Option(help="labelled questions: a .csv or .jsonl file")],
    calibration: Annotated[Path | None, typer.Option(help="calibration questions; default: a share of train")] = None,
    test: Annotated[Path | None, typer.Option(help="test questions; default: a share of train")] = None,
    method: Annotated[str, typer.Option(help="a method from training/README.md")] = "uq4ct",
    base: Annotated[str, typer.Option(help="base model: embedded name, folder or hub id")] = EMBEDDED,
    name: Annotated[str | None, typer.Option(help="name of the run and the adapter; default: the file's")] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing recipe")] = False,
) -> None:
    """Write a recipe for your own question files.

    The question files are read now, so that mistakes in them are reported here. Comments explain every field.
    """
    if recipe.exists() and not force:
        raise ConfigError(f"{recipe} already exists: choose another name, or overwrite it with --force")
    files = {part: read_own_file(path) for part, path in _given(train, calibration, test).items()}
    for file in files.values():
        say(console, file.summary)
    config = recipe_for(files, name=name or _name_of(recipe), method=method, base=base, folder=recipe.parent)
    splits = _show_splits(config, {part: file.path for part, file in files.items()})
    if len(splits.fit) < FEWEST_QUESTIONS:
        say(
            console,
            f"the recipe sets calibration: none, because the fit split has {len(splits.fit)} questions, fewer than the "
            f"{FEWEST_QUESTIONS} that a calibration needs",
        )
        config = config.model_copy(update={"calibration": "none"})
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(render_recipe(config, _introduction(recipe, config)), encoding="utf-8")
    say(console, f"wrote {recipe}; next:")
    for command in _next_commands(recipe, config):
        say(console, f"  {command}")


def fetch(
    name: Annotated[str, typer.Argument(help="embedded name, folder or hub id")] = EMBEDDED,
    revision: Annotated[str | None, typer.Option(help="commit or tag, for a hub id")] = None,
) -> None:
    """Fetch and convert a base model ahead of time."""
    files = find_base_files(name, revision)
    say(console, f"{files.identity.name} {files.identity.digest} in {files.folder}")


def questions(
    recipe: RecipeArgument,
    output: Annotated[Path, typer.Argument(help="JSON lines file to write")],
    split: Annotated[str, typer.Option(help="train, fit, guarantee, test, or a shift set")] = "test",
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Write the questions and answers of a recipe's split to a file.

    `uq4ct replay` reads this file.
    """
    splits, _ = load_splits(load_run_config(find_recipe(recipe), tuple(overrides)).data)
    chosen = splits.select(split)
    write_jsonl(output, chosen)
    say(console, f"{len(chosen)} questions in {output}")


def _given(train: Path, calibration: Path | None, test: Path | None) -> dict[str, Path]:
    files = {"train": train, "calibration": calibration, "test": test}
    return {part: path for part, path in files.items() if path is not None}


def _name_of(recipe: Path) -> str:
    """Turn the file name into a valid run name."""
    return re.sub(r"[^a-z0-9._-]+", "-", recipe.stem.lower()).lstrip("-._")[:64]


def _show_splits(config: RunConfig, files: Mapping[str, Path]) -> Splits:
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
