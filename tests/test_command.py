"""The verbs that `uq4ct --help` lists without importing anything are the existing ones."""

from __future__ import annotations

from importlib import import_module

import pytest
from typer.main import get_command


@pytest.mark.parametrize("part", ["training", "service"])
def test_the_verbs_are_the_commands_with_the_first_lines_of_their_help(part: str) -> None:
    verbs = import_module(f"uq4ct.{part}.verbs")
    module, _, name = verbs.CLI.partition(":")
    group = get_command(getattr(import_module(module), name))
    commands = group.commands  # pyright: ignore[reportAttributeAccessIssue]
    helps = {verb: (command.help or "").strip().split("\n")[0] for verb, command in commands.items()}
    assert helps == verbs.VERBS
