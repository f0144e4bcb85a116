"""The recipes that ship with the project."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from uq4ct.training.run_config import ConfigError


def find_recipe(recipe: str) -> Path:
    """Return the path of a recipe, given as a file or as the name of a shipped recipe.

    Raises:
        ConfigError: there is no such file and no such recipe.
    """
    if Path(recipe).is_file():
        return Path(recipe)
    shipped = Path(str(resources.files("uq4ct.training.recipes")))
    path = shipped / f"{recipe}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
        raise ConfigError(f"recipe {recipe!r} is neither a file nor one of {names}")
    return path
