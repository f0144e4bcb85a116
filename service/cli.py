"""uq4ct serve | check | promote | replay | calibration-report | keys | ledger.

Settings are environment variables, or flags of `serve` and `check`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from uq4ct.model_store.environment import variable_name
from uq4ct.model_store.storage.references import PRODUCTION
from uq4ct.service.access.commands import cli as key_commands
from uq4ct.service.ledger.commands import ledger
from uq4ct.service.replay.commands import replay
from uq4ct.service.reports.commands import calibration_report
from uq4ct.service.settings import Settings, read_settings

cli = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def serve(settings: Settings) -> None:
    """Answer questions over HTTP until SIGTERM."""
    from uq4ct.service.starting import serve as start

    start(settings)


def check(settings: Settings) -> None:
    """Read the keys, load the model, answer one question, print the answer and exit."""
    from uq4ct.service.starting import check as answer_once

    typer.echo(answer_once(settings))


def _command(run: Callable[[Settings], None]) -> Callable[..., None]:
    """Return a command with one flag per field of `Settings`; typer reads its variable and shows it in the help."""

    def command(**flags: str | None) -> None:
        run(read_settings(os.environ, {name: value for name, value in flags.items() if value is not None}))

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_flag(name))
        for name in Settings.model_fields
    ]
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    setattr(command, "__signature__", inspect.Signature(parameters))  # noqa: B010  # unknown to type checkers
    return command


def _flag(name: str) -> object:
    field = Settings.model_fields[name]
    default = "unset" if field.default is None else str(field.default)
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        envvar=variable_name(name.upper()),
        metavar="VALUE",
        help=f"{field.description} (default: {default})",
    )
    return Annotated[str | None, option]


@cli.command()
def promote(
    name: Annotated[str, typer.Argument(help="a registered name")],
    version: Annotated[int, typer.Argument(help="the version to point the alias to; an older one rolls back")],
    alias: Annotated[str, typer.Option(help="the alias; a bare name uses production")] = PRODUCTION,
    model_store_dir: Annotated[
        Path, typer.Option(envvar=variable_name("MODEL_STORE_DIR"), help="folder of the registered adapters")
    ] = Settings.model_fields["model_store_dir"].default,
) -> None:
    """Point an alias of a model to another version, after checking every file of that version.

    Running replicas notice the change within UQ4CT_ALIAS_POLL_SECONDS and switch once the version is loaded and warm.
    """
    from uq4ct.model_store.storage.registry import Registry

    adapters = Registry(model_store_dir)
    adapters.verify(f"{name}@{version}")
    adapters.promote(name, version, alias)
    typer.echo(f"{name}@{alias} now points to {name}@{version}")


cli.command()(replay)
for _run in (serve, check):
    cli.command()(_command(_run))
cli.command("calibration-report")(calibration_report)
cli.add_typer(key_commands, name="keys")
cli.add_typer(ledger)
