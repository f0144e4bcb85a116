"""Text files are read and written as UTF-8 whatever the locale says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = [ROOT / ".src" / "uq4ct", ROOT / "model_store", ROOT / "service", ROOT / "training"]
_TEXT_METHODS = {"read_text", "write_text"}
_OPENERS = {"open", "fdopen", "NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile", "TextIOWrapper"}
_TEXT_FLAGS = {"text", "universal_newlines"}
_OTHER_OPENERS = {"os.open", "self.swaps.open"}  # a descriptor; the engine's start


def locale_reads(source: str) -> list[str]:
    """Return the calls that read or write text in the encoding of the locale."""
    return [ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and _is_bad(node)]


def _is_bad(call: ast.Call) -> bool:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    if "encoding" in keywords:
        return False
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if last in _TEXT_METHODS or any(_is_true(keywords.get(flag)) for flag in _TEXT_FLAGS):
        return True
    if last not in _OPENERS or name in _OTHER_OPENERS:
        return False
    modes = [*call.args[:2], *filter(None, [keywords.get("mode")])]
    if last.endswith("TemporaryFile") and not modes:
        return False  # binary unless a mode is given
    return not any(isinstance(mode, ast.Constant) and _is_binary(mode.value) for mode in modes)


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def _is_binary(mode: object) -> bool:
    return isinstance(mode, str) and "b" in mode and set(mode) <= set("rwaxbt+")


def test_no_product_code_uses_the_encoding_of_the_locale() -> None:
    files = [file for top in PRODUCT for file in top.rglob("*.py")]
    assert len(files) > 200
    found = {str(file.relative_to(ROOT)): locale_reads(file.read_text(encoding="utf-8")) for file in files}
    assert {file: calls for file, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("path.read_text()", True),
        ("path.read_text(errors='replace')", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text('a')", True),
        ("resources.files('a').joinpath('b').read_text()", True),
        ("open('a')", True),
        ("open('a', 'w')", True),
        ("open('b', 'rb')", False),
        ("open('a', mode='rb')", False),
        ("open('a', 'w', encoding='utf-8')", False),
        ("path.open()", True),
        ("path.open('a')", True),
        ("path.open('ab+')", False),
        ("os.fdopen(handle, 'w')", True),
        ("os.fdopen(os.open(path, os.O_WRONLY), 'wb')", False),
        ("subprocess.run(['git'], text=True)", True),
        ("subprocess.run(['git'], text=True, encoding='utf-8')", False),
        ("subprocess.run(['git'])", False),
        ("Question(id='1', text='Which?')", False),
        ("tempfile.NamedTemporaryFile()", False),
        ("tempfile.NamedTemporaryFile('w')", True),
        ("io.TextIOWrapper(stream)", True),
    ],
)
def test_a_call_that_uses_the_locale_would_be_found(line: str, bad: bool) -> None:
    assert bool(locale_reads(line)) is bad
