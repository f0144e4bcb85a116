"""The project's command lines and settings, read without running anything."""

from __future__ import annotations

from typer.main import get_command

from service.__main__ import cli as service_commands
from service.settings import Settings
from training.__main__ import app as training_commands

COMMANDS = {"service": service_commands, "training": training_commands}


def check_command(arguments: list[str]) -> None:
    """Parse `python -m <module> <command> ...` as that module would.

    Raises:
        KeyError: there is no such module.
        TyperException: the module has no such command, or the command no such argument.
    """
    python, flag, module, name, *rest = arguments
    assert (python, flag) == ("python", "-m")
    group = get_command(COMMANDS[module])
    _, command, rest = group.resolve_command(group.make_context(module, [name]), [name, *rest])  # pyright: ignore[reportAttributeAccessIssue]
    command.make_context(name, rest)


def as_flags(environment: dict[str, str]) -> dict[str, str]:
    """The settings among a container's variables, as `read_settings` takes them in place of the process's own."""
    return {name.lower(): value for name, value in environment.items() if name.lower() in Settings.model_fields}
