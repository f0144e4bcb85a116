"""Every block and command in the READMEs has a name in `examples` that some test uses."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tests.readme.pages import PAGES, ROOT, Page

EXAMPLES = ROOT / "tests" / "readme" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
TESTS = sorted((ROOT / "tests" / "readme").glob("test_*.py"))

every_page = pytest.mark.parametrize("name", NAMES)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"tests.readme.examples.{name}")


def _source(name: str) -> str:
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")


def used_examples(source: str) -> set[tuple[str, str]]:
    """The examples that a test imports and then uses: (module, name)."""
    tree = ast.parse(source)
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {
        (str(node.module).removeprefix("tests.readme.examples."), alias.name)
        for node in imports
        for alias in node.names
        if str(node.module).startswith("tests.readme.examples.") and (alias.asname or alias.name) in loaded
    }


def unused_privates(source: str) -> set[str]:
    """The names with an underscore that a module of examples binds but never reads."""
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name) and node.id.startswith("_")]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return bound - {node.id for node in names if isinstance(node.ctx, ast.Load)}


def test_every_page_has_a_module_of_examples() -> None:
    assert Counter(_module(name).PAGE for name in NAMES) == Counter(PAGES)


@every_page
def test_every_section_with_a_block_or_a_command_is_taken_apart(name: str) -> None:
    page: Page = _module(name).PAGE
    taken = Counter(re.findall(r'PAGE\.(code|spans)\("([^"]+)"', _source(name)))
    expected = [("code", section) for section in page.blocks]
    expected += [("spans", section) for section in page.prose if page.spans(section)]
    assert taken == Counter(expected)


@every_page
def test_every_block_and_command_is_one_that_a_test_uses(name: str) -> None:
    assert unused_privates(_source(name)) == set()
    named = {one for one, value in vars(_module(name)).items() if one.isupper() and isinstance(value, str)}
    used = set[tuple[str, str]]().union(*(used_examples(_read(path)) for path in TESTS))
    assert {one for one in named if (name, one) not in used} == set()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_an_import_alone_is_no_use_and_neither_is_the_name_of_another_page() -> None:
    source = "from tests.readme.examples.root import A, B as OTHER, C\nfrom elsewhere import D\nprint(A, OTHER, D)"
    assert used_examples(source) == {("root", "A"), ("root", "B")}


def test_a_block_that_is_never_taken_apart_is_found() -> None:
    assert unused_privates("_a, _b, C = code()\nD = commands(_a)") == {"_b"}
