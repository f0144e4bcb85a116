"""The public modules: each has its list of names and loads only what it needs."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

FACES = ["uq4ct", "uq4ct.client", "uq4ct.predictor"]


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def loaded_by(module: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after one import."""
    code = f"import {module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_names_of_a_face_are_all_it_has(face: ModuleType) -> None:
    """A star import gives exactly the list, and the module does not re-export what it imports for itself."""
    star: dict[str, object] = {}
    exec(f"from {face.__name__} import *", star)
    assert set(star) - {"__builtins__"} == set(face.__all__)
    own = {name for name, value in vars(face).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert own == {name for name in face.__all__ if not name.startswith("_")}


def test_the_names_of_a_face_are_sorted_and_documented(face: ModuleType) -> None:
    assert face.__doc__
    assert list(face.__all__) == sorted(set(face.__all__))
    public = [getattr(face, name) for name in face.__all__]
    assert [one for one in public if inspect.isroutine(one) and not one.__doc__] == []
    for one in filter(inspect.isclass, public):
        methods = [value for name, value in vars(one).items() if not name.startswith("_") and inspect.isroutine(value)]
        assert [value for value in [one, *methods] if not inspect.getdoc(value)] == []


@pytest.mark.parametrize(
    ("module", "needed", "unwanted"),
    [
        ("uq4ct", set(), {"httpx2", "numpy", "pydantic", "torch", "transformers", "typer"}),
        ("uq4ct.client", {"httpx2", "pydantic"}, {"fastapi", "numpy", "sqlalchemy", "torch", "transformers", "typer"}),
        pytest.param(
            "uq4ct.predictor",
            {"pydantic", "torch"},
            {"fastapi", "matplotlib", "sqlalchemy", "typer"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_face_loads_only_what_it_needs(module: str, needed: set[str], unwanted: set[str]) -> None:
    loaded = loaded_by(module)
    assert needed <= loaded
    assert loaded & unwanted == set()
