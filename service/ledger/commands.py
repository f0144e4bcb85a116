"""python -m service ledger migrate | prune | export: settings come from the service's environment variables."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from service.ledger.database import Database
from service.ledger.export import export_lines, write_lines
from service.ledger.failures import LedgerError, LedgerUnavailableError
from service.ledger.migrating import migrate as migrate_database
from service.ledger.retention import delete_all, oldest_kept_ms
from service.settings import Settings, SettingsError, read_settings
from service.telemetry.logs import log_to_stderr

P = ParamSpec("P")

ledger = typer.Typer(name="ledger", help=__doc__, no_args_is_help=True)


def _refusing(command: Callable[P, None]) -> Callable[P, None]:
    """The command, with what an operator can mend as one line."""

    @functools.wraps(command)
    def run(*arguments: P.args, **flags: P.kwargs) -> None:
        try:
            command(*arguments, **flags)
        except (SettingsError, LedgerError, LedgerUnavailableError, OSError) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error

    return run


@ledger.command()
@_refusing
def migrate() -> None:
    """Bring the database at DATABASE_URL to the schema of this version; a server does so itself when it starts."""
    typer.echo(f"schema {migrate_database(_settings().database_url)}")


@ledger.command()
@_refusing
def prune() -> None:
    """Delete what is older than RETENTION_DAYS; a running server does so itself every hour."""
    settings = _settings()
    before = oldest_kept_ms(int(time.time() * 1000), settings.retention_days)
    typer.echo(f"{delete_all(_open(settings), before)} predictions deleted")


@ledger.command()
@_refusing
def export(
    output: Annotated[Path | None, typer.Option(help="file to write, whole or not at all; without it: stdout")] = None,
) -> None:
    """Every prediction with its label, as JSON lines, oldest first."""
    lines = export_lines(_open(_settings()))
    if output is None:
        for line in lines:
            typer.echo(line)
    else:
        typer.echo(f"{write_lines(lines, output)} predictions written to {output}", err=True)


def _settings() -> Settings:
    settings = read_settings(os.environ, {})
    log_to_stderr(settings.log_level)
    return settings


def _open(settings: Settings) -> Database:
    migrate_database(settings.database_url)
    return Database(settings.database_url)
