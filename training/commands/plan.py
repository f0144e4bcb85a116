"""`uq4ct plan`."""

from __future__ import annotations

import typer

from uq4ct.training.commands.options import RecipeArgument, SetOption, console
from uq4ct.training.console import say


def plan(recipe: RecipeArgument, overrides: SetOption = []) -> None:  # noqa: B006
    """Say how much memory and time a recipe's training will take.

    Loads the base model and rehearses parts of the largest steps on this device. If the run does not fit, it says
    what to change and ends with exit code 1.
    """
    from uq4ct.training.model_process import prepare_process
    from uq4ct.training.recipes.shipped import find_recipe
    from uq4ct.training.run_config import load_run_config
    from uq4ct.training.runs.plan import plan_run
    from uq4ct.training.runs.plan_report import describe_plan

    prepare_process()
    config = load_run_config(find_recipe(recipe), tuple(overrides))
    planned = plan_run(config, console)
    for line in describe_plan(planned, config):
        say(console, line)
    if not planned.fits:
        raise typer.Exit(1)
