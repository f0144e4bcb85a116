"""The promotions of one name: a file that lists which alias pointed to which version since when."""

from __future__ import annotations

import datetime
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from uq4ct.model_store.frozen import Frozen, complaints
from uq4ct.model_store.regular_files import MEBIBYTE
from uq4ct.model_store.storage.checkpoint import read_stored
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.model_store.storage.errors import CorruptFileError, MissingFileError
from uq4ct.model_store.storage.references import ALIAS
from uq4ct.model_store.strict_json import JsonError, parse_json

PROMOTIONS_FILE = "promotions.json"
MOST_KEPT = 1000
_MOST_BYTES = MEBIBYTE

VersionNumber = Annotated[int, Field(ge=1, lt=10**9)]


class PromotionEntry(Frozen):
    """A change of an alias."""

    alias: str = Field(pattern=f"^{ALIAS.pattern}$")
    version: VersionNumber
    previous: VersionNumber | None = Field(description="the version before; null for the first")
    promoted_at: AwareDatetime


class _PromotionFile(Frozen):
    format: Literal[1] = 1
    promotions: tuple[PromotionEntry, ...] = ()


def read_promotions(folder: Path) -> tuple[PromotionEntry, ...]:
    """Return the promotions of the name in a folder, oldest first; none if there is no file.

    Raises:
        UnreadableFileError, CorruptFileError: the message names the file.
    """
    path = folder / PROMOTIONS_FILE
    try:
        return _PromotionFile.model_validate(parse_json(read_stored(path, _MOST_BYTES))).promotions
    except MissingFileError:
        return ()
    except ValidationError as error:
        raise CorruptFileError(path, f"must list promotions: {'; '.join(complaints(error))}") from error
    except JsonError as error:
        raise CorruptFileError(path, f"must list promotions: {error}") from error


def record_promotion(folder: Path, alias: str, version: int, previous: int | None) -> None:
    """Append a promotion, keeping the newest `MOST_KEPT`.

    A damaged file must not stop a rollback: it is renamed to `promotions.json.damaged-...`, and a new one begins.
    """
    path = folder / PROMOTIONS_FILE
    try:
        earlier = read_promotions(folder)
    except CorruptFileError:
        path.rename(path.with_name(f"{PROMOTIONS_FILE}.damaged-{secrets.token_hex(4)}"))
        earlier = ()
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    entry = PromotionEntry(alias=alias, version=version, previous=previous, promoted_at=now)
    content = _PromotionFile(promotions=(*earlier, entry)[-MOST_KEPT:])
    replace_file(path, content.model_dump_json(indent=2).encode() + b"\n")
