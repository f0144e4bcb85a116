"""The base model that a stored adapter or a finished run was trained on, found again by its digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uq4ct.model_store.base.errors import BaseModelError
from uq4ct.model_store.base.files import BaseFiles, find_base_files, identify_folder
from uq4ct.model_store.base.identity import EMBEDDED, BaseIdentity
from uq4ct.model_store.base.models import BaseModel, load_files
from uq4ct.model_store.environment import read_variable, split_paths


def default_base_folders() -> tuple[Path, ...]:
    """Return the folders in the environment variable UQ4CT_BASE_FOLDERS; none if it is not set."""
    return split_paths(read_variable("BASE_FOLDERS") or "")


def load_recorded_base(
    record: BaseIdentity,
    *,
    folders: Sequence[Path] = (),
    device: str = "auto",
    dtype: str = "auto",
    cache_dir: Path | None = None,
) -> BaseModel:
    """Load the base model with a recorded identity; see `find_recorded_base`.

    Raises:
        BaseModelError: the base model is not found or cannot be loaded.
    """
    return load_files(find_recorded_base(record, folders, cache_dir=cache_dir), device=device, dtype=dtype)


def find_recorded_base(
    record: BaseIdentity, folders: Sequence[Path] = (), *, cache_dir: Path | None = None
) -> BaseFiles:
    """Return the files of the base model with a recorded identity.

    If there are `folders`, it is the first of them with the recorded digest. Otherwise, and for the embedded base
    model, it is the one with the recorded name, whose digest is not checked here.

    Raises:
        BaseModelError: no folder has the digest, or there is no base model of that name.
    """
    if folders and record.name != EMBEDDED:
        return _search(record, folders)
    is_hub_id = "/" in record.name and not Path(record.name).is_dir()
    try:
        return find_base_files(record.name, record.revision if is_hub_id else None, cache_dir=cache_dir)
    except BaseModelError as error:
        if record.name == EMBEDDED:
            raise
        raise BaseModelError(
            f"{error}. If another folder has it, set UQ4CT_BASE_FOLDERS or --base-folders to that folder"
        ) from error


def _search(record: BaseIdentity, folders: Sequence[Path]) -> BaseFiles:
    found: list[str] = []
    for folder in folders:
        try:
            digest = identify_folder(folder).identity.digest
        except BaseModelError as error:
            found.append(str(error))
            continue
        if digest == record.digest:
            return BaseFiles(folder, record)
        found.append(f"{folder} has digest {digest}")
    raise BaseModelError(f"no folder has base model {record.name!r} with digest {record.digest}: {'; '.join(found)}")
