"""Nothing in the README is left out: every block and command has a name in `examples`, which some test uses."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.readme import examples
from tests.readme.blocks import README, ROOT, blocks, commands, sections, spans

TESTS = [*(ROOT / "tests" / "readme").glob("test_*.py"), ROOT / "tests" / "test_readme.py"]


def _unpacked(function: str) -> set[str]:
    source = Path(examples.__file__).read_text(encoding="utf-8")
    return set(re.findall(rf'^.+ = {function}\("([^"]+)"\)$', source, flags=re.MULTILINE))


def test_every_section_with_a_block_or_a_command_is_taken_apart() -> None:
    assert {section for section in sections() if blocks(section)} == _unpacked("blocks")
    assert {section for section in sections() if spans(section)} == _unpacked("spans")


def test_every_block_and_command_is_one_that_a_test_runs() -> None:
    named = {name for name in vars(examples) if name.isupper()}
    statements = [node for path in TESTS for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    assert named == named & {node.id for node in statements if isinstance(node, ast.Name)}


def test_code_is_indented_never_fenced() -> None:
    assert not re.search(r"^ *(```|~~~)", README, flags=re.MULTILINE)


EXAMPLE = """# Title

Say `make it` or `python -m it
now` or `A=1 make it`, `A=1 make it`, but `make` is no command.

    one 'with
      two lines'   # it's said

    # nothing
    two \\
      --more

## Next

    code
"""


def test_a_reader_sees_what_markdown_shows() -> None:
    assert spans("Title", EXAMPLE) == ["make it", "python -m it now", "A=1 make it"]
    (block,) = blocks("Title", EXAMPLE)
    assert commands(block) == ["one 'with\n  two lines'   # it's said", "two \\\n  --more"]
    assert blocks("Next", EXAMPLE) == ["code"]


def test_an_open_quote_and_a_repeated_heading_are_errors() -> None:
    with pytest.raises(ValueError, match="not closed"):
        commands("one 'two")
    with pytest.raises(ValueError, match="twice"):
        sections("# A\n\n# A\n")
