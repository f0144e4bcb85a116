"""Malformed input of every kind: exit code 1 and one line that names the file or field and the value."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import save_file
from torch import Tensor

from tests.command_line import uq4ct
from tests.training.conftest import MakeConfig
from uq4ct.training.formats import read_adapter
from uq4ct.training.formats.foreign import FormatError
from uq4ct.training.run_config import ConfigError, parse_run_config
from uq4ct.training.strict_yaml import YamlError, parse_yaml

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    "no",
    "2",
    2.7,
    -1,
    0,
    10**30,
    float("nan"),
    float("inf"),
    [],
    {},
    [[1]],
    {"a": 1},
    "x\n\0",
    "\ud800",
)


def check_refusal(arguments: list[str], *named: str) -> None:
    """Run a command that must fail with one line on stderr."""
    done = uq4ct(arguments)
    lines = done.stderr.splitlines()
    assert done.exit_code == 1, done.output
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in done.output
    for part in named:
        assert part in lines[0]


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


# Recipes and studies


@pytest.fixture
def record(make_config: MakeConfig) -> dict[str, Any]:
    """A valid recipe."""
    return make_config("lora").model_dump(mode="json", exclude={"adopted"})


RECIPES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "a recipe must be a mapping of fields, not NoneType"),
    "binary": (bytes(range(256)), "byte 128 is not UTF-8"),
    "NUL": (b"name: \0", "special characters are not allowed"),
    "UTF-16": ("name: x".encode("utf-16"), "byte 0 is not UTF-8"),
    "list": (b"- name", "a recipe must be a mapping of fields, not list"),
    "not YAML": (b"name: [a\nmethod: lora", "line 2: "),
    "deep": (b"[\n" * 2000, "nested too deeply"),
    "deep blocks": (b"- " * 2000, "nested too deeply"),
    "large": (b"#" * (2**20 + 1), "Larger than 1048576 bytes (1048577)"),
    "duplicate": (b"name: a\nmethod: lora\nname: b", "line 3: duplicate key 'name'"),
    "duplicate inside": (b"data:\n  train: a\n  train: b", "line 3: duplicate key 'train'"),
    "two documents": (b"name: a\n---\nname: b", "line 2: "),
    "number as key": (b"1: a", "line 1: key 1 must be text"),
    "list as key": (b"? [a]\n: b", "line 1: key"),
    "code": (b"name: !!python/object/apply:os.getcwd []", "line 1: the tag 'tag:yaml.org,2002:python/object/apply"),
    "bytes": (b"name: !!binary aGk=", "line 1: the tag 'tag:yaml.org,2002:binary' of 'aGk=' is not supported"),
    "no number": (b"name: !!int x", "line 1: the tag 'tag:yaml.org,2002:int' of 'x' is not supported"),
    "no bool": (b"name: !!bool x", "line 1: the tag 'tag:yaml.org,2002:bool' of 'x' is not supported"),
    "digits": (b"name: " + b"9" * 5000, "has too many digits"),
    "alias loop": (b"a: &a [*a]", "line 1: an alias contains itself"),
    "alias bomb": (
        b"a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + b"".join(b"%c: &%c [%s]\n" % (k + 1, k + 1, b",".join([b"*%c" % k] * 10)) for k in range(97, 107)),
        "the document has more than 100000 values",
    ),
    "merge of text": (b"a: {<<: x}", "line 1: << must be followed by a mapping (got 'x')"),
}


@pytest.mark.parametrize(("content", "complaint"), RECIPES.values(), ids=RECIPES)
def test_a_recipe_that_cannot_be_read_is_one_line(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    check_refusal(["train", str(path)], str(path), complaint)
    check_refusal(["evaluate", "--untrained", str(path)], str(path), complaint)
    check_refusal(["study", "--recipe", str(path)], str(path), complaint)
    check_refusal(["questions", str(path), str(tmp_path / "out.jsonl")], str(path), complaint)


def test_a_recipe_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    make_loop(tmp_path / "loop.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "loop.yaml", tmp_path / "pipe.yaml", tmp_path / "missing.yaml"):
        check_refusal(["train", str(path)], str(path))


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("adapter.rank=2.7", "adapter.rank: Input should be a valid integer (got 2.7)"),
        ("adapter.rank=true", "adapter.rank: Input should be a valid integer (got True)"),
        ("adapter.rank='8'", "adapter.rank: Input should be a valid integer (got '8')"),
        ("adapter.alpha=.inf", "adapter.alpha: Input should be a finite number (got inf)"),
        ("optimizer.learning_rate=.nan", "optimizer.learning_rate: Input should be a finite number (got nan)"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate: Input should be a finite number (got inf)"),
        ("training.seed=-1", "training.seed: Input should be greater than or equal to 0 (got -1)"),
        ("training.seed=1" + "0" * 30, "training.seed: Input should be less than or equal to 1000000000"),
        ("name=no thing", "name: String should match pattern"),
        ("data.source=[]", "data: "),
        ("data.train='~nobody-of-this-name/x'", "path '~nobody-of-this-name/x': Could not determine home"),
        ("data.train='a\\0b'", "is not a path: embedded null byte"),
        ('data.train="a\\0b"', "is not a path: embedded null byte"),
        ("base.name=''", "base.name: String should have at least 1 character (got '')"),
        ("base.device=meta", "device 'meta'"),
        ("base.device=no-such", "device 'no-such'"),
        ("options={samples: 2}", "options.samples"),
        ("adapter={rank: 1, rank: 2}", "line 1: duplicate key 'rank'"),
        ("adapter.rank=[", "the value cannot be read as YAML"),
        ("adapter.rank.x.y=1", "'rank' is not a section"),
    ],
)
def test_a_wrong_value_of_a_recipe_is_one_line(
    override: str, complaint: str, record: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(record))
    if "a\\0b'" in override:  # in single quotes these are four characters, and the file is missing
        complaint = "No such file"
    check_refusal(["train", str(path), "--output", str(tmp_path / "run"), "--set", override], complaint)
    assert not (tmp_path / "run" / "result.json").exists()


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every field, sections included."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))


def changed(record: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a copy with one field changed."""
    head, *rest = path
    return record | {head: changed(record[head], tuple(rest), value) if rest else value}


def types_of(value: Any) -> Any:
    """Return a value whose numbers of another type are unequal: 1 is not True, and 2.0 not 2."""
    if isinstance(value, dict):
        return {key: types_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [types_of(item) for item in value]
    return (type(value).__name__, value)


@pytest.mark.parametrize("method", ["lora", "uq4ct", "mc_dropout"])
def test_no_field_of_a_recipe_converts_an_odd_value(method: str, make_config: MakeConfig) -> None:
    """Each is rejected in one line, or is in the configuration as it was written."""
    record = make_config(method).model_dump(mode="json", exclude={"adopted"})
    accepted, complaints = 0, list[str]()
    for path in leaves(record):
        for value in ODD_VALUES:
            try:
                config = parse_run_config(changed(record, path, value), "recipe")
            except ConfigError as error:
                complaints.append(str(error))
                continue
            accepted += 1
            kept: Any = config
            for name in path:
                kept = kept[name] if isinstance(kept, dict) else getattr(kept, name)
            if isinstance(kept, BaseModel):  # a section: a mapping that may leave fields out
                assert isinstance(value, dict)
            elif isinstance(kept, float):
                assert kept == float(value)
                assert not isinstance(value, bool)
            else:
                assert types_of(kept) == types_of(value), (path, value)
    assert accepted > 10
    assert len(complaints) > 100
    assert not [complaint for complaint in complaints if "\n" in complaint]


def test_numbers_of_a_recipe_are_read_as_they_are_written() -> None:
    text = "a: 1e-4\nb: no\nc: 0.5\nd: 010\ne: 12:30\nf: 2024-01-01\ng: '1'\nh: ~\ni: true\nj: .inf\nk: -.5E+3\nl: 1_0"
    assert types_of(parse_yaml(text)) == types_of(
        {
            "a": 1e-4,
            "b": "no",
            "c": 0.5,
            "d": 10,
            "e": "12:30",
            "f": "2024-01-01",
            "g": "1",
            "h": None,
            "i": True,
            "j": float("inf"),
            "k": -500.0,
            "l": "1_0",
        }
    )
    assert parse_yaml("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: {<<: [{b: 4}, *x]}") == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 1, "c": 3},
        "e": {"b": 4, "c": 2},
    }
    with pytest.raises(YamlError, match="line 2: duplicate key 'b'"):
        parse_yaml("a: {b: 1,\n b: 2}")


# Question files

QUESTION = '"id": "1", "question": "2 + 2?", "options": ["3", "4"]'
LINES: dict[str, tuple[bytes, str]] = {
    "binary": (bytes(range(256)), "cannot be read"),
    "UTF-16": ("{}".encode("utf-16"), "cannot be read: 'utf-8' codec"),
    "deep": (b"[" * 100_000, "line 1: invalid JSON: arrays or objects are nested too deeply"),
    "duplicate key": (
        f'{{{QUESTION}, "answer": 0, "answer": 1}}'.encode(),
        "line 1: invalid JSON: duplicate key 'answer'",
    ),
    "NaN": (f'{{{QUESTION}, "answer": NaN}}'.encode(), "line 1: invalid JSON: NaN is not a JSON value"),
    "digits": (f'{{{QUESTION}, "answer": {"9" * 5000}}}'.encode(), "invalid JSON: a number has too many digits"),
    "float": (f'{{{QUESTION}, "answer": 1.0}}'.encode(), "line 1: answer: must be the index of the right"),
    "bool": (f'{{{QUESTION}, "answer": true}}'.encode(), "line 1: answer: must be the index of the right"),
    "negative": (f'{{{QUESTION}, "answer": -1}}'.encode(), "line 1: answer: -1 is not the index"),
    "huge": (f'{{{QUESTION}, "answer": {10**40}}}'.encode(), "line 1: answer: 1000"),
    "list": (b"[]", "line 1: must be a JSON object, not list"),
    "options": (b'{"id": "1", "question": "?", "options": "ab"}', "line 1: options: must be a list of texts, not str"),
    "surrogate": (b'{"id": "1", "question": "\\ud800", "options": ["a", "b"]}', "line 1: question: character 0"),
    "truncated": (b'{"id": "1", "question": "2', "line 1: invalid JSON: Unterminated string"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "complaint"), LINES.values(), ids=LINES)
def test_json_lines_that_are_no_questions_are_one_line(
    content: bytes, complaint: str, record: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    check_refusal(["new-recipe", str(tmp_path / "new.yaml"), "--train", str(path)], str(path), complaint)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(record))
    for verb in (["train", "--output", str(tmp_path / "run")], ["evaluate", "--untrained"]):
        check_refusal([*verb, str(recipe), "--set", f"data.train={path}"], str(path), complaint)


HEADER = b"question,option_1,option_2,answer\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "line 1: the column question is missing"),
        (bytes(range(256)), "cannot be read"),
        (HEADER + b"q,a,b," + b"1" * 5000, "line 2: answer: must be the number of an option"),
        (HEADER + b"q,a,b,-1", "line 2: answer: must be the number of an option, counted from 1, not '-1'"),
        (HEADER + b"q,a,b,1.0", "line 2: answer: must be the number of an option, counted from 1, not '1.0'"),
        (HEADER + b"q,a,b", "line 2: the number of cells differs"),
        (HEADER + b'q,"a,b,1', "invalid CSV"),
        (HEADER + b"q," + b"a" * 200_000 + b",b,1", "invalid CSV: field larger than field limit"),
        (HEADER.replace(b"option_2", b"option_1") + b"q,a,b,1", "line 1: the column option_2 is missing"),
        (b"question,option_1,option_2,answer,answer\nq,a,b,1,2", "line 1: unknown or repeated columns"),
    ],
)
def test_tables_that_are_no_questions_are_one_line(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    check_refusal(["new-recipe", str(tmp_path / "new.yaml"), "--train", str(path)], str(path), complaint)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_question_files_that_are_no_files_are_one_line(suffix: str, tmp_path: Path) -> None:
    for number, make in enumerate((Path.mkdir, os.mkfifo, make_loop, lambda _: None)):
        path = tmp_path / f"{number}{suffix}"
        make(path)
        check_refusal(["new-recipe", str(tmp_path / "new.yaml"), "--train", str(path)], f"{path}: cannot be read: ")


# Runs


@pytest.mark.parametrize("file", ["config.json", "result.json", "adapter.safetensors"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"{" * 100_000),
        lambda path: path.write_bytes(b'{"a": 1, "a": 2}'),
        lambda path: path.write_bytes(b"\xff\xfe\0"),
        lambda path: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
        Path.mkdir,
        os.mkfifo,
        make_loop,
    ],
    ids=["empty", "deep", "duplicate", "binary", "long header", "directory", "pipe", "link loop"],
)
def test_a_run_that_cannot_be_read_is_one_line(
    file: str, make: Callable[[Path], Any], finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for path in finished_run.iterdir():
        if path.is_file() and path.name != file:
            (run / path.name).write_bytes(path.read_bytes())
    make(run / file)
    check_refusal(["publish", str(run), "--store", str(tmp_path / "store")], str(run / file), "cannot be read")
    check_refusal(["evaluate", str(run)], str(run / file), "cannot be read")


# Checkpoints of other programs


def lora_tensors() -> dict[str, Tensor]:
    """The tensors of rank 2 on q_proj of both layers of the tiny base model."""
    places = [f"base_model.model.model.layers.{layer}.self_attn.q_proj" for layer in range(2)]
    return {f"{place}.lora_{side}.weight": torch.ones((2, 32) if side == "A" else (32, 2)) for place in places for side in "AB"}  # fmt: skip  # noqa: E501


LORA_CONFIG = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "lora_dropout": 0.0}
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A valid checkpoint."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(LORA_CONFIG))
    save_file(lora_tensors(), folder / "adapter_model.safetensors")
    assert read_adapter(folder).config.rank == 2
    return folder


@pytest.fixture
def refuse_adoption(foreign: Path, record: dict[str, Any], tmp_path: Path) -> Callable[..., None]:
    """Check that the checkpoint is not adopted."""

    def refuse(*named: str) -> None:
        recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
        recipe.write_text(json.dumps(record))
        check_refusal(["adopt", str(foreign), "--recipe", str(recipe), "--output", str(run)], *named)
        assert not run.exists()

    return refuse


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"r": 2.7}, "r must be a whole number from 1 (got 2.7)"),
        ({"r": True}, "r must be a whole number from 1 (got True)"),
        ({"r": "2"}, "r must be a whole number from 1 (got '2')"),
        ({"r": -2, "use_rslora": True}, "r must be a whole number from 1 (got -2)"),
        ({"r": 10**400}, "adapter_config.json: r: Input should be less than or equal to 1024"),
        ({"r": 10**400, "use_rslora": True}, "adapter_config.json: r: Input should be less than or equal to 1024"),
        ({"use_rslora": "no"}, "use_rslora must be true or false (got 'no')"),
        ({"use_rslora": 1}, "use_rslora must be true or false (got 1)"),
        ({"lora_alpha": True}, "lora_alpha must be a finite number (got True)"),
        ({"lora_alpha": 10**400}, "lora_alpha must be a finite number (got 1000"),
        ({"lora_alpha": -4}, "adapter_config.json: lora_alpha: Input should be greater than 0 (got -4.0)"),
        ({"lora_dropout": "0"}, "adapter_config.json: lora_dropout: Input should be a valid number (got '0')"),
        ({"lora_dropout": None}, "adapter_config.json: lora_dropout: Input should be a valid number (got None)"),
        ({"peft_type": ["LORA"]}, "peft_type ['LORA'] is not one of LORA, MIXLORA"),
        ({"base_model_name_or_path": 3}, "base_model_name_or_path must be text (got 3)"),
        ({"init_lora_weights": {}}, "init_lora_weights is {}, which changes the base model"),
        ({"bias": "all\n" * 100}, "bias is 'all\\nall"),
    ],
    ids=str,
)  # fmt: skip
def test_a_field_of_another_type_is_one_line(
    changes: dict[str, Any], complaint: str, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_config.json").write_text(json.dumps(LORA_CONFIG | changes))
    refuse_adoption(str(foreign), complaint)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe{\0", "byte 0 is not UTF-8"),
        (b"{" * 100_000, "cannot be read"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"r": 2, "r": 4}', "duplicate key 'r'"),
        (b'{"lora_alpha": Infinity}', "Infinity is not a JSON value"),
        (b'{"r": ' + b"9" * 5000 + b"}", "too many digits"),
        (b" " * (2**20 + 1), "Larger than 1048576 bytes"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_one_line(
    content: bytes, complaint: str, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_config.json").write_bytes(content)
    refuse_adoption("adapter_config.json cannot be read", complaint)


def test_an_infinite_alpha_of_json_is_refused(foreign: Path, refuse_adoption: Callable[..., None]) -> None:
    text = json.dumps(LORA_CONFIG).replace('"lora_alpha": 4', '"lora_alpha": 1e999')
    (foreign / "adapter_config.json").write_text(text)
    refuse_adoption("lora_alpha must be a finite number (got inf)")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, make_loop], ids=["directory", "pipe", "link loop"])
@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file_of_a_checkpoint_that_is_no_file_is_one_line(
    file: str, make: Callable[[Path], Any], foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / file).unlink()
    make(foreign / file)
    refuse_adoption(f"{foreign / file} cannot be read: ")


def test_a_checkpoint_that_is_no_folder_is_one_line(foreign: Path, refuse_adoption: Callable[..., None]) -> None:
    for path in foreign.iterdir():
        path.unlink()
    foreign.rmdir()
    refuse_adoption("adapter_config.json cannot be read: No such file or directory")
    foreign.write_text("a file")
    refuse_adoption("adapter_config.json cannot be read: Not a directory")


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        (
            torch.ones(2, 32, dtype=torch.complex64),
            "has dtype complex64, which is not one of float32, float16",
        ),
        (torch.ones(2, 32, dtype=torch.int64), "has dtype int64"),
        (torch.ones(2, 32, dtype=torch.bool), "has dtype bool"),
        (torch.ones(2, 31), "does not fit the base model"),
        (torch.ones(3, 32), "has shape (3, 32), but the configuration says (2, None)"),
        (torch.ones(2, 32, 1), "has shape (2, 32, 1)"),
        (torch.ones(0, 32), "has shape (0, 32)"),
        (torch.ones(()), "has shape ()"),
        (torch.full((2, 32), torch.nan), "has the value nan at [0, 0], not a finite one"),
        (torch.full((2, 32), -torch.inf), "has the value -inf at [0, 0], not a finite one"),
        (torch.full((2, 32), 1e300, dtype=torch.float64), "has the value 1e+300 at [0, 0], not a finite one"),
    ],
    ids=lambda value: str(getattr(value, "dtype", None)),
)
@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_model.bin"])
def test_a_tensor_that_cannot_be_honoured_is_one_line(
    file: str, tensor: Tensor, complaint: str, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_model.safetensors").unlink()
    tensors = lora_tensors() | {FIRST: tensor}
    save_file(tensors, foreign / file) if file.endswith("safetensors") else torch.save(tensors, foreign / file)
    refuse_adoption(complaint)


def test_floats_of_8_bits_are_refused(foreign: Path, refuse_adoption: Callable[..., None]) -> None:
    tensors = lora_tensors() | {FIRST: torch.ones(2, 32, dtype=torch.float8_e4m3fn)}
    save_file(tensors, foreign / "adapter_model.safetensors")
    refuse_adoption("has dtype float8_e4m3fn")
    (foreign / "adapter_model.safetensors").unlink()
    torch.save(tensors, foreign / "adapter_model.bin")
    refuse_adoption("asks for 'torch._utils _rebuild_tensor_v3'")


def header(**entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        header(a={"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}),
        header(a={"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}),
        header(a={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}),
        header(a={"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}) + b"1234",
    ],
    ids=["empty", "short", "long header", "list", "exabytes", "overflow", "truncated", "dtype"],
)
def test_safetensors_that_declare_what_they_do_not_hold_are_one_line(
    content: bytes, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_model.safetensors").write_bytes(content)
    refuse_adoption("adapter_model.safetensors cannot be read: ")


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def compress(path: Path) -> None:
    """Write a .bin of about 300 KB that unpacks to 300 MB of zeros."""
    torch.save({"a": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            if not name.endswith("/data/0"):
                archive.writestr(name, data)
                continue
            with archive.open(deflated(name), "w", force_zip64=True) as file:
                for _ in range(300):
                    file.write(bytes(2**20))


def deflated(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


PICKLES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "it is not a zip archive"),
    "old format": (lambda path: torch.save({}, path, _use_new_zipfile_serialization=False), "it is not a zip archive"),
    "code": (lambda path: torch.save({"a": Call(os.getcwd)}, path), "it asks for 'posix getcwd'"),
    "memory": (lambda path: torch.save({"a": Call(bytearray, 3 * 10**9)}, path), "it asks for '__builtin__ bytearray'"),
    "tensor class": (lambda path: torch.save({"a": Call(torch.Tensor, 10**9)}, path), "it asks for 'torch Tensor'"),
    "expanded": (
        lambda path: torch.save({"a": torch.zeros(1, dtype=torch.float16).expand(10**5, 10**4)}, path),
        "its tensors need 2000000000 bytes",
    ),
    "shared": (
        lambda path: torch.save(dict.fromkeys(map(str, range(1000)), torch.zeros(10**5)), path),
        "its tensors need 400000000 bytes",
    ),
    "list": (lambda path: torch.save([torch.zeros(1)], path), "contains something other than named tensors"),
    "number": (lambda path: torch.save({"a": 1}, path), "contains something other than named tensors: 'a'"),
    "no text": (lambda path: torch.save({1: torch.zeros(1)}, path), "contains something other than named tensors: '1'"),
    "truncated": (
        lambda path: (torch.save(lora_tensors(), path), path.write_bytes(path.read_bytes()[:-200])),
        "it is not a zip archive",
    ),
    "other archive": (
        lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"),
        "cannot be read",
    ),
}


@pytest.mark.parametrize(("write", "complaint"), PICKLES.values(), ids=PICKLES)
def test_pickles_of_more_than_tensors_are_one_line(
    write: Callable[[Path], Any], complaint: str, foreign: Path, refuse_adoption: Callable[..., None]
) -> None:
    (foreign / "adapter_model.safetensors").unlink()
    write(foreign / "adapter_model.bin")
    refuse_adoption(str(foreign / "adapter_model.bin"), complaint)


REFUSED_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from uq4ct.training.formats import read_adapter
from uq4ct.training.formats.foreign import FormatError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_adapter(Path(sys.argv[1]))
except FormatError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.slow
def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused_in_little_memory(foreign: Path) -> None:
    (foreign / "adapter_model.safetensors").unlink()
    compress(foreign / "adapter_model.bin")
    assert (foreign / "adapter_model.bin").stat().st_size < 2**20
    done = subprocess.run(
        [sys.executable, "-c", REFUSED_IN_LITTLE_MEMORY, str(foreign)], check=True, capture_output=True, text=True
    )
    kibibytes, message = done.stdout.split(maxsplit=1)
    assert "is compressed" in message
    assert int(kibibytes) < 50_000


@pytest.mark.parametrize("field", ["r", "lora_alpha", "lora_dropout", "use_rslora", "peft_type", "task_type", "bias"])
def test_no_field_of_a_checkpoint_is_a_traceback(field: str, foreign: Path) -> None:
    complaints: list[str] = []
    for value in ODD_VALUES:
        (foreign / "adapter_config.json").write_text(json.dumps(LORA_CONFIG | {field: value}))
        try:
            read_adapter(foreign)
        except FormatError as error:
            complaints.append(str(error))
    assert len(complaints) > 5
    for complaint in complaints:
        assert "\n" not in complaint
        assert field in complaint or "is not a JSON value" in complaint
