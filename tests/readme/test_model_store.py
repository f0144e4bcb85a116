"""model_store/README.md: the layout that it shows is that of a store."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.readme.examples.model_store import LAYOUT


def test_the_layout_is_that_of_a_store(tiny_store: Path) -> None:
    entries = re.findall(r"^( *)(\S+)", LAYOUT, flags=re.MULTILINE)
    name, version = (
        {text.rstrip("/") for indent, text in entries if len(indent) == depth and not text.startswith("report")}
        for depth in (4, 6)
    )
    made = {path.name for path in (tiny_store / "quickstart").iterdir()}
    assert {one for one in name if not one.isdecimal() and not one.startswith(".publishing")} == {
        one for one in made if not one.isdecimal()
    }
    assert version == {path.name for path in (tiny_store / "quickstart/1").iterdir()}


def test_the_aliases_have_the_form_of_the_layout(tiny_store: Path) -> None:
    (shown,) = re.findall(r"aliases\.json +(\{.*\})", LAYOUT)
    aliases = json.loads((tiny_store / "quickstart/aliases.json").read_text())
    assert {type(value) for value in json.loads(shown).values()} == {type(value) for value in aliases.values()} == {int}
    assert "production" in json.loads(shown)
    assert "production" in aliases
