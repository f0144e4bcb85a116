"""`uq4ct train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uq4ct.training.commands.options import OutputOption, RecipeArgument, SetOption, console
from uq4ct.training.console import say


def train(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006
    output: OutputOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue from the folder's resume point")] = False,
    on: Annotated[
        list[Path],
        typer.Option("--on", help="folder of a finished run to fit the method on; by default it is trained first"),
    ] = [],  # noqa: B006
) -> None:
    """Train a recipe."""
    from uq4ct.model_store.errors import StoppedError
    from uq4ct.model_store.full_disk import DiskFullError
    from uq4ct.model_store.uncertainty.soft_targets import FEWEST_QUESTIONS
    from uq4ct.training.model_process import prepare_process
    from uq4ct.training.recipes.shipped import find_recipe
    from uq4ct.training.run_config import load_run_config
    from uq4ct.training.runs.folder import describe_kept
    from uq4ct.training.runs.records import RunError
    from uq4ct.training.runs.train import train_run

    prepare_process()
    config = load_run_config(find_recipe(recipe), tuple(overrides))
    folder = output or Path("runs") / config.name
    try:
        result = train_run(config, folder, console, resume=resume, on=on)
    except KeyboardInterrupt:
        raise StoppedError(describe_kept(folder)) from None
    except DiskFullError as error:
        raise RunError(f"{error}; {describe_kept(folder)}") from error
    rate = result.tokens / result.seconds
    say(
        console,
        f"{folder}: kept epoch {result.kept_epoch}, NLL on the fit split "
        f"{result.fit_nll[result.kept_epoch - 1]:.4f}, {result.seconds:.0f} s, {rate:.0f} tokens/s",
    )
    if config.calibration != "none" and result.fit < FEWEST_QUESTIONS:
        say(
            console,
            f"warning: the fit split has {result.fit} questions, and `publish` refuses a calibration that is fitted on "
            f"fewer than {FEWEST_QUESTIONS}: add calibration questions, or publish with --calibration none",
        )
