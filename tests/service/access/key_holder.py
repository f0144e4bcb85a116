"""A file of keys, and the keys that its users hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from uq4ct.service.access.keys import KeyRecord, Scope, add_key, hash_key


class KeyHolder:
    """Makes keys whose text follows from their id, and writes the file that the service reads."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.json"

    def new(self, *scopes: str, key_id: str = "k", tenant: str = "acme", **fields: Any) -> dict[str, str]:
        """Add a key to the file, and return the header with it."""
        add_key(self.file, record(self.key(key_id), key_id, scopes, tenant, **fields))
        return self.header(key_id)

    def key(self, key_id: str) -> str:
        return f"uq4ct_secret-of-{key_id}"

    def header(self, key_id: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key(key_id)}"}


def record(key: str, key_id: str, scopes: Iterable[str], tenant: str = "acme", **fields: Any) -> KeyRecord:
    """Return the record of a key."""
    return KeyRecord(
        id=key_id, sha256=hash_key(key.encode()), scopes=tuple(map(Scope, scopes)), tenant=tenant, **fields
    )
