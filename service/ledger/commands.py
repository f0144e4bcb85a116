"""uq4ct ledger migrate | prune | export: settings come from the service's environment variables."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uq4ct.service.ledger.failures import LONGEST_PAUSE_DAYS
from uq4ct.service.settings import Settings, read_settings

if TYPE_CHECKING:
    from uq4ct.service.ledger.database import Database

ledger = typer.Typer(name="ledger", help="Migrate, prune and export the ledger.", no_args_is_help=True)


@ledger.command()
def migrate() -> None:
    """Migrate the database at UQ4CT_DATABASE_URL to the schema of this version; a server does this when it starts."""
    from uq4ct.service.ledger.migrating import migrate as migrate_database

    typer.echo(f"schema {migrate_database(read_settings(os.environ, {}).database_url)}")


@ledger.command()
def prune(
    clock_is_right: Annotated[
        bool,
        typer.Option("--clock-is-right", help=f"delete although retention has not run for {LONGEST_PAUSE_DAYS} days"),
    ] = False,
) -> None:
    """Delete predictions older than UQ4CT_RETENTION_DAYS; a running server does this every hour.

    Nothing is deleted if the clock is far ahead of the last time, since a wrong clock would delete everything.
    """
    from uq4ct.service.ledger.retention import accept_clock, delete_all, oldest_kept_ms

    settings = read_settings(os.environ, {})
    now_ms = int(time.time() * 1000)
    before = oldest_kept_ms(now_ms, settings.retention_days)
    with opened(settings) as database:
        accept_clock(database, now_ms, insist=clock_is_right)
        typer.echo(f"{delete_all(database, before)} predictions deleted")


@ledger.command()
def export(
    output: Annotated[Path | None, typer.Option(help="file to write, in full or not at all; unset = stdout")] = None,
) -> None:
    """Write every prediction with its label as JSON lines, oldest first."""
    from uq4ct.service.ledger.export import export_lines, write_lines

    with opened(read_settings(os.environ, {})) as database:
        lines = export_lines(database)
        if output is None:
            for line in lines:
                typer.echo(line)
        else:
            typer.echo(f"{write_lines(lines, output)} predictions written to {output}", err=True)


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Open the configured ledger after migrating it to the current schema; raises LedgerError."""
    from uq4ct.service.ledger.database import Database
    from uq4ct.service.ledger.migrating import migrate as migrate_database

    migrate_database(settings.database_url)
    database = Database(settings.database_url)
    try:
        yield database
    finally:
        database.close()
