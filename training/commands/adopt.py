"""`uq4ct adopt` and `uq4ct export`: adapters from elsewhere, and adapters for elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uq4ct.training.commands.options import SetOption, console
from uq4ct.training.console import say
from uq4ct.training.recipes.shipped import find_recipe
from uq4ct.training.run_config import read_recipe
from uq4ct.training.runs.adopt import adopt_checkpoint, export_run


def adopt(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a checkpoint of PEFT's LoRA or of MixLoRA")],
    recipe: Annotated[str, typer.Option(help="whose data, base and scoring go with it; a file or a shipped recipe")],
    output: Annotated[Path, typer.Option(help="folder of the run")],
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Make a finished run of an adapter that was trained elsewhere.

    It is published as any other.
    """
    path = find_recipe(recipe)
    result = adopt_checkpoint(checkpoint, read_recipe(path, tuple(overrides)), str(path), output, console)
    say(console, f"{output}: {result.trained_parameters:,} parameters on {result.base.name}, nothing trained here")


def export(
    run: Annotated[Path, typer.Argument(help="folder of a finished run of plain LoRA")],
    output: Annotated[Path, typer.Argument(help="folder to write adapter_config.json and its tensors into")],
) -> None:
    """Write plain LoRA as a checkpoint that PEFT opens."""
    left_out = export_run(run, output)
    note = f"; without {', '.join(left_out)}, for which the layout has no place" if left_out else ""
    say(console, f"{output}{note}")
