"""The steps before training: `uq4ct new-recipe`, `uq4ct fetch` and `uq4ct questions`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uq4ct.model_store.base.identity import EMBEDDED
from uq4ct.training.commands.options import RecipeArgument, SetOption, console
from uq4ct.training.console import say


def new_recipe(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    recipe: Annotated[Path, typer.Argument(help="recipe to write, e.g. my.yaml")],
    train: Annotated[Path, typer.Option(help="labelled questions: a .csv or .jsonl file")],
    calibration: Annotated[Path | None, typer.Option(help="calibration questions; default: a share of train")] = None,
    test: Annotated[Path | None, typer.Option(help="test questions; default: a share of train")] = None,
    method: Annotated[str, typer.Option(help="a method from training/README.md")] = "uq4ct",
    base: Annotated[str, typer.Option(help="base model: embedded name, .gguf file, folder or hub id")] = EMBEDDED,
    name: Annotated[str | None, typer.Option(help="name of the run and the adapter; default: the file's")] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing recipe")] = False,
) -> None:
    """Write a recipe for your own question files.

    The question files are read now, so that mistakes in them are reported here. Comments explain every field.
    """
    from uq4ct.training.recipes.writing import write_recipe

    given = {"train": train, "calibration": calibration, "test": test}
    paths = {part: path for part, path in given.items() if path is not None}
    write_recipe(recipe, paths, console, method=method, base=base, name=name, force=force)


def fetch(
    name: Annotated[str, typer.Argument(help="embedded name, .gguf file, folder or hub id")] = EMBEDDED,
    revision: Annotated[str | None, typer.Option(help="commit or tag, for a hub id")] = None,
) -> None:
    """Fetch and convert a base model ahead of time."""
    from uq4ct.model_store.base.files import find_base_files
    from uq4ct.training.model_process import prepare_process

    prepare_process()
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
    from uq4ct.training.data.jsonl import write_jsonl
    from uq4ct.training.data.loading import load_splits
    from uq4ct.training.recipes.shipped import find_recipe
    from uq4ct.training.run_config import load_run_config

    splits, _ = load_splits(load_run_config(find_recipe(recipe), tuple(overrides)).data)
    chosen = splits.select(split)
    write_jsonl(output, chosen)
    say(console, f"{len(chosen)} questions in {output}")
