"""The aliases of one name: a file that maps each to a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from uq4ct.model_store.frozen import complaints
from uq4ct.model_store.regular_files import MEBIBYTE
from uq4ct.model_store.storage.checkpoint import read_stored
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.model_store.storage.errors import CorruptFileError, MissingFileError
from uq4ct.model_store.storage.references import ALIAS
from uq4ct.model_store.strict_json import JsonError, parse_json

ALIASES_FILE = "aliases.json"
_MOST_BYTES = MEBIBYTE
_ALIASES = TypeAdapter(
    dict[Annotated[str, Field(pattern=f"^{ALIAS.pattern}$")], Annotated[int, Field(ge=1, strict=True)]]
)


def read_aliases(folder: Path) -> dict[str, int]:
    """Return the version of each alias of the name in a folder; none if there is no file.

    Raises:
        UnreadableFileError, CorruptFileError: the message names the file.
    """
    path = folder / ALIASES_FILE
    try:
        return _ALIASES.validate_python(parse_json(read_stored(path, _MOST_BYTES)))
    except MissingFileError:
        return {}
    except ValidationError as error:
        raise CorruptFileError(path, f"must map aliases to versions: {'; '.join(complaints(error))}") from error
    except JsonError as error:
        raise CorruptFileError(path, f"must map aliases to versions: {error}") from error


def write_aliases(folder: Path, aliases: dict[str, int]) -> None:
    """Replace the aliases of the name in a folder in one step."""
    replace_file(folder / ALIASES_FILE, _ALIASES.dump_json(dict(sorted(aliases.items())), indent=2) + b"\n")
