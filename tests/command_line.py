"""Run the command `uq4ct` in this process, or parse its verbs without running them."""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from typer.main import get_command

from uq4ct.command import main
from uq4ct.service.cli import cli as service_cli
from uq4ct.service.verbs import VERBS as SERVICE_VERBS
from uq4ct.training.cli import app as training_cli


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a command: its exit code and its output."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams, one after the other."""
        return self.stdout + self.stderr


def uq4ct(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Done:
    """Run `uq4ct` with these arguments and, besides the process's own, these environment variables."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, dict(env or {})), redirect_stdout(out), redirect_stderr(err):
        code = main(list(arguments))
    return Done(code, out.getvalue(), err.getvalue())


def check_command(command: Sequence[str] | str) -> None:
    """Parse `uq4ct VERB ...` as that verb would.

    Raises:
        TyperException: the verb does not exist, or does not have such an argument.
    """
    words = shlex.split(command, comments=True) if isinstance(command, str) else list(command)
    program, verb, *rest = words
    assert program == "uq4ct", words
    group = get_command(service_cli if verb in SERVICE_VERBS else training_cli)
    _, parsed, rest = group.resolve_command(group.make_context("uq4ct", [verb]), [verb, *rest])  # pyright: ignore[reportAttributeAccessIssue]
    parsed.make_context(verb, rest)
