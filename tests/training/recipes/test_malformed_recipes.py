"""Malformed recipes and studies: exit code 1 and one line that names the file or field and the value."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.training.conftest import MakeConfig
from tests.training.malformed import ODD_VALUES, check_refusal, make_loop
from uq4ct.training.run_config import ConfigError, parse_run_config
from uq4ct.training.strict_yaml import YamlError, parse_yaml

RECIPES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "a recipe must be a mapping of fields, not NoneType"),
    "binary": (bytes(range(256)), "byte 128 is not UTF-8"),
    "NUL": (b"name: \0", "special characters are not allowed"),
    "Latin-1": (b"name: x\n# caf\xe9", "line 2: byte 13 is not UTF-8: save the file as UTF-8"),
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
