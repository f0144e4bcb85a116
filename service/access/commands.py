"""uq4ct keys new | list | revoke: edit the file of UQ4CT_API_KEYS_FILE."""

from __future__ import annotations

import datetime
import secrets
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from uq4ct.model_store.environment import variable_name
from uq4ct.model_store.frozen import complaints
from uq4ct.service.access.keys import (
    KEY_PREFIX,
    KeyFileError,
    KeyRecord,
    Scope,
    add_key,
    hash_key,
    read_keys,
    revoke_key,
)

_KEY_BYTES = 32

KeyFile = Annotated[
    Path,
    typer.Option("--file", envvar=variable_name("API_KEYS_FILE"), help="file of keys; a running service reloads it"),
]

cli = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@cli.command()
def new(
    file: KeyFile,
    scopes: Annotated[str, typer.Option(help="what the key allows: predict, feedback or admin, separated by commas")],
    tenant: Annotated[str, typer.Option(help="tenant whose predictions the key can read")] = "default",
    key_id: Annotated[
        str | None, typer.Option("--id", help="public id, for logs and `revoke` (default: made from the tenant)")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36500, help="days until it expires (default: never)")] = None,
) -> None:
    """Make a key, print it once, and add its hash to the file."""
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    record = _record(key, scopes, tenant, key_id or f"{tenant}-{secrets.token_hex(4)}", days)
    add_key(file, record)
    typer.echo(f"{record.id} added to {file}; the key is shown only this once:", err=True)
    typer.echo(key)


@cli.command(name="list")
def list_keys(file: KeyFile) -> None:
    """List the id, tenant, scopes and expiry of every key."""
    records, _ = read_keys(file)
    for record in records:
        expiry = "never expires" if record.expires_at is None else f"expires {record.expires_at:%Y-%m-%d %H:%M} UTC"
        typer.echo("\t".join((record.id, record.tenant, ",".join(record.scopes), expiry)))


@cli.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], file: KeyFile) -> None:
    """Remove a key; a running service rejects it within a second."""
    revoke_key(file, key_id)
    typer.echo(f"{key_id} removed from {file}", err=True)


def _record(key: str, scopes: str, tenant: str, key_id: str, days: int | None) -> KeyRecord:
    names = [name.strip() for name in scopes.split(",")]
    unknown = [name for name in names if name not in set(Scope)]
    if unknown:
        raise KeyFileError(f"scopes: unknown {', '.join(map(repr, unknown))}, must be among {', '.join(Scope)}")
    expiry = None if days is None else datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    try:
        return KeyRecord(
            id=key_id,
            sha256=hash_key(key.encode()),
            scopes=tuple(Scope(name) for name in dict.fromkeys(names)),
            tenant=tenant,
            expires_at=expiry,
        )
    except ValidationError as error:
        raise KeyFileError("; ".join(complaints(error))) from None
