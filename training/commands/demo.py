"""`uq4ct demo`."""

from __future__ import annotations

from pathlib import Path

from uq4ct.training.commands.options import OutputOption, RecipeArgument, SetOption, StoreOption, console


def demo(
    recipe: RecipeArgument = "quickstart",
    overrides: SetOption = [],  # noqa: B006
    output: OutputOption = None,
    store: StoreOption = None,
) -> None:
    """Train a recipe, publish it, serve it and ask it three questions.

    Shows the scores before and after training, and fails unless training improved the answers.
    """
    from uq4ct.model_store.storage.registry import default_store_dir
    from uq4ct.training.demonstration import run_demo
    from uq4ct.training.model_process import prepare_process
    from uq4ct.training.recipes.shipped import find_recipe
    from uq4ct.training.run_config import load_run_config

    prepare_process()
    config = load_run_config(find_recipe(recipe), tuple(overrides))
    run_demo(config, output or Path("runs") / config.name, store or default_store_dir(), console)
