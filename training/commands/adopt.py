"""`uq4ct adopt` and `uq4ct export`: read and write the adapters of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uq4ct.training.commands.options import SetOption, console
from uq4ct.training.console import say


def adopt(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a PEFT LoRA or MixLoRA checkpoint")],
    recipe: Annotated[str, typer.Option(help="recipe with the data, base model and scoring: a file or a shipped name")],
    output: Annotated[Path, typer.Option(help="folder of the run")],
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Turn an adapter that was trained elsewhere into a finished run.

    Publish it like any other run.
    """
    from uq4ct.training.model_process import prepare_process
    from uq4ct.training.recipes.shipped import find_recipe
    from uq4ct.training.run_config import read_recipe
    from uq4ct.training.runs.adopt import adopt_checkpoint

    prepare_process()
    path = find_recipe(recipe)
    changes = tuple(overrides)
    result = adopt_checkpoint(checkpoint, read_recipe(path, changes), str(path), output, console, changes)
    say(console, f"{output}: {result.trained_parameters:,} parameters on {result.base.name}, nothing trained here")


def export(
    run: Annotated[Path, typer.Argument(help="folder of a finished plain LoRA run")],
    output: Annotated[Path, typer.Argument(help="folder to write adapter_config.json and the tensors to")],
) -> None:
    """Write a plain LoRA run as a PEFT checkpoint."""
    from uq4ct.training.model_process import prepare_process
    from uq4ct.training.runs.adopt import export_run

    prepare_process()
    left_out = export_run(run, output)
    note = f"; without {', '.join(left_out)}, which the format cannot store" if left_out else ""
    say(console, f"{output}{note}")
