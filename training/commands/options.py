"""The console, arguments and options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from uq4ct.model_store.environment import split_paths

console = Console(width=None if sys.stdout.isatty() else 120)  # tables in a log need room

RecipeArgument = Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped recipe such as quickstart")]
SetOption = Annotated[
    list[str], typer.Option("--set", help="override a field, e.g. --set optimizer.learning_rate=1e-4")
]
StoreOption = Annotated[Path | None, typer.Option(help="folder of the model store; default: UQ4CT_MODEL_STORE_DIR")]
OutputOption = Annotated[Path | None, typer.Option(help="folder of the run; default: runs/<name>")]
BaseFoldersOption = Annotated[
    str | None,
    typer.Option(
        "--base-folders",
        help="folders to find the base model in by its digest, separated by `:`; default: UQ4CT_BASE_FOLDERS",
    ),
]


def base_folders_of(option: str | None) -> tuple[Path, ...]:
    """Return the folders that the option names, by default those of the environment variable."""
    from uq4ct.model_store.base.recorded import default_base_folders

    return default_base_folders() if option is None else split_paths(option)
