"""Finds code that still imports or runs the project's parts by the top-level names they had before `uq4ct`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from textwrap import dedent

OLD = frozenset({"service", "training", "model_store", "httpx"})
_IMPORTERS = frozenset({"import_module", "importorskip", "__import__", "find_spec"})
_COMMAND = re.compile(rf"-m (?:{'|'.join(sorted(OLD))})\b")


def old_names(source: str) -> list[int]:
    """Return the lines of a Python source that import or run an old name, or contain code or a command that does."""
    return sorted({line for node in ast.walk(ast.parse(source)) for line in _lines(node)})


def _lines(node: ast.AST) -> Iterator[int]:
    match node:
        case ast.Import(names=names, lineno=line) if any(_is_old(name.name) for name in names):
            yield line
        case ast.ImportFrom(module=str(module), level=0, lineno=line) if _is_old(module):
            yield line
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(module)), *_]):
            if name in _IMPORTERS and _is_old(module):
                yield node.lineno
        case ast.Constant(value=str(text), lineno=line) if _COMMAND.search(text) or _is_old_code(text):
            yield line
    match node:
        case ast.Call(args=words) | ast.List(elts=words) | ast.Tuple(elts=words):
            yield from _run_as_module(words)


def _run_as_module(words: Sequence[ast.expr]) -> Iterator[int]:
    """Yield the places where `-m` is followed by an old name in the words of a command."""
    for option, word in pairwise(words):
        match option, word:
            case ast.Constant(value="-m"), ast.Constant(value=str(module)) if _is_old(module):
                yield word.lineno


def _is_old(module: str) -> bool:
    return module.partition(".")[0] in OLD


def _is_old_code(text: str) -> bool:
    """Return whether a text is a program (as tests pass to a subprocess) that imports or runs an old name."""
    if "import" not in text:
        return False
    try:
        return bool(old_names(dedent(text)))
    except SyntaxError:
        return False
