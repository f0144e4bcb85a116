"""The files of base models: the embedded default, a GGUF file, a local folder, or a hub id at a revision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from uq4ct.model_store.base.configuration import read_model_type
from uq4ct.model_store.base.conversion import embedded_folder, gguf_folder
from uq4ct.model_store.base.digests import folder_digest
from uq4ct.model_store.base.errors import BaseModelError
from uq4ct.model_store.base.identity import EMBEDDED, EMBEDDED_DIGEST, EMBEDDED_VERSION, BaseIdentity
from uq4ct.model_store.environment import read_variable
from uq4ct.model_store.full_disk import DiskFullError, naming_full_disk

Download = Callable[..., str]


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A folder that holds a base model, and its identity."""

    folder: Path
    identity: BaseIdentity


def default_cache_dir() -> Path:
    """Return the folder of base models: the environment variable UQ4CT_BASE_CACHE_DIR, else one beside the adapters."""
    return Path(read_variable("BASE_CACHE_DIR") or "model_store/artifacts/base_models")


def find_base_files(
    name: str, revision: str | None = None, *, cache_dir: Path | None = None, download: Download = snapshot_download
) -> BaseFiles:
    """Return the folder and identity of a base model; fetches or converts it first if needed.

    `name` is `smollm2-135m`, a GGUF file, a folder, or a hub id `owner/model`, which takes a revision (a commit is
    best).

    Raises:
        BaseModelError: the model cannot be loaded, is not of a supported kind, or has no safetensors.
    """
    cache = cache_dir or default_cache_dir()
    path = Path(name)
    if name == EMBEDDED:
        _take_no_revision(f"{EMBEDDED} is one fixed file", revision)
        return BaseFiles(
            embedded_folder(cache),
            BaseIdentity(
                name=EMBEDDED, revision=EMBEDDED_VERSION, digest=f"sha256:{EMBEDDED_DIGEST}", model_type="llama"
            ),
        )
    if path.suffix == ".gguf":
        _take_no_revision(f"base model {name!r} is a file", revision)
        folder, digest = gguf_folder(cache, path)
        model_type = read_model_type(name, folder)
        return BaseFiles(folder, BaseIdentity(name=name, revision=None, digest=digest, model_type=model_type))
    if path.is_dir():
        _take_no_revision(f"base model {name!r} is a folder", revision)
        return identify_folder(path)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise BaseModelError(
            f"base model {name!r} is neither {EMBEDDED!r}, nor a .gguf file, nor an existing folder, nor a hub id like "
            "'owner/model'"
        )
    folder = _hub_folder(name, revision, cache, download)
    return _identified(name, folder.name, folder)


def identify_folder(folder: Path) -> BaseFiles:
    """Return a folder with the identity of the base model in it.

    Raises:
        BaseModelError: the folder does not exist, or its base model is not supported or cannot be read.
    """
    if not folder.is_dir():
        raise BaseModelError(f"{folder} is not a folder")
    return _identified(str(folder), None, folder)


def _take_no_revision(what: str, revision: str | None) -> None:
    if revision is not None:
        raise BaseModelError(f"{what} and takes no revision, not {revision!r}")


def _hub_folder(name: str, revision: str | None, cache: Path, download: Download) -> Path:
    place = cache / "hub"
    patterns = ["*.safetensors", "*.json", "*.model"]
    try:
        with naming_full_disk(place):
            return Path(download(name, revision=revision, cache_dir=str(place), allow_patterns=patterns))
    except DiskFullError:
        raise
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise BaseModelError(
            f"base model {name!r} at revision {revision or 'main'!r} cannot be fetched ({type(error).__name__}). Check "
            "the name, the network and, for a gated model, the login (`hf auth login` or HF_TOKEN); or download it "
            "elsewhere and give its folder as the name"
        ) from error


def _identified(name: str, revision: str | None, folder: Path) -> BaseFiles:
    if not list(folder.glob("*.safetensors")):
        raise BaseModelError(f"base model {name!r} has no *.safetensors (pickled weights are never read)")
    if not (folder / "tokenizer.json").is_file():
        raise BaseModelError(f"base model {name!r} has no tokenizer.json")
    model_type = read_model_type(name, folder)
    try:
        digest = folder_digest(folder)
    except OSError as error:
        raise BaseModelError(f"base model {name!r} cannot be read: {error}") from error
    return BaseFiles(folder, BaseIdentity(name=name, revision=revision, digest=digest, model_type=model_type))
