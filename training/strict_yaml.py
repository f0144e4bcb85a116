"""Recipes as YAML: text, numbers, true, false, null, lists and mappings with text keys, each key once.

Plain scalars follow the core schema of YAML 1.2, in which `no` is text, `1e-4` a number and `12:30` no number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from uq4ct.model_store.regular_files import MEBIBYTE, read_regular, reason_of

MOST_BYTES = MEBIBYTE
_MOST_VALUES = 100_000  # of a document whose aliases are written out
_SHOWN_CHARACTERS = 80
_TAG = "tag:yaml.org,2002:"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_SCALARS: dict[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {  # the first pattern that matches counts
    f"{_TAG}null": (re.compile(r"(~|null|Null|NULL|)\Z"), lambda _: None),
    f"{_TAG}bool": (re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), lambda text: text.lower() == "true"),
    f"{_TAG}int": (re.compile(r"[-+]?[0-9]+\Z"), int),
    f"{_TAG}float": (re.compile(rf"({_FLOAT})\Z"), lambda text: float(re.sub(r"\.(?=[inIN])", "", text))),
    f"{_TAG}str": (re.compile(r"(?s).*\Z"), str),
}
_MERGE = f"{_TAG}merge"


class YamlError(ValueError):
    """A file or text that is not a recipe's YAML; the message is one line and has no name of the file."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  (of PyYAML's own classes; filled below)


class _Dumper(yaml.SafeDumper):
    """Quotes what an older or this reader would not read as text."""


for _tag, (_pattern, _) in list(_SCALARS.items())[:-1]:
    _Loader.add_implicit_resolver(_tag, _pattern, None)
    _Dumper.add_implicit_resolver(_tag, _pattern, None)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])


def read_yaml(path: Path) -> Any:
    """Read a file of at most 1 MiB.

    Raises:
        YamlError: the file cannot be read, or as `parse_yaml`.
    """
    try:
        return parse_yaml(read_regular(path, MOST_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise YamlError(reason_of(error)) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise YamlError(f"line {line}: byte {error.start} is not UTF-8: save the file as UTF-8") from error


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML document.

    Raises:
        YamlError: the text is not YAML, a mapping has a key twice or one that is not text, a tag is not supported, or
            the document is nested too deeply or too large.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Builder().build(node)
    except yaml.MarkedYAMLError as error:
        problem = " ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        raise YamlError(problem if mark is None else f"line {mark.line + 1}: {problem}") from error
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise YamlError("lists or mappings are nested too deeply") from error


def dump_yaml(value: Any) -> str:
    """Return a value as one line of YAML."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


class _Builder:
    """Builds the values of one document, aliases written out."""

    def __init__(self) -> None:
        self._values = 0
        self._open: set[int] = set()  # ids of the nodes around the current one

    def build(self, node: yaml.Node) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise _error(node, f"the document has more than {_MOST_VALUES} values")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if id(node) in self._open:
            raise _error(node, "an alias contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
                return [self.build(item) for item in node.value]
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
                return self._mapping(node)
        finally:
            self._open.remove(id(node))
        raise _unsupported(node)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for below in self._merged(value_node):
                    merged = below | merged
                continue
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else key_node.tag
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(key, str):
                raise _error(key_node, f"key {_shown(key)} must be text; write it in quotes")
            if key in own:
                raise _error(key_node, f"duplicate key {_shown(key)}")
            own[key] = self.build(value_node)
        return merged | own

    def _merged(self, node: yaml.Node) -> Iterator[dict[str, Any]]:
        value = self.build(node)
        for mapping in value if isinstance(value, list) else [value]:
            if not isinstance(mapping, dict):
                raise _error(node, f"<< must be followed by a mapping (got {_shown(mapping)})")
            yield mapping


def _scalar(node: yaml.ScalarNode) -> Any:
    if node.tag not in _SCALARS:
        raise _unsupported(node)
    pattern, convert = _SCALARS[node.tag]
    if not pattern.match(node.value):
        raise _unsupported(node)
    try:
        return convert(node.value)
    except ValueError as error:  # Python converts no number of more than 4300 digits
        raise _error(node, f"{_shown(node.value)} has too many digits") from error


def _unsupported(node: yaml.Node) -> yaml.MarkedYAMLError:
    shown = f" of {_shown(node.value)}" if isinstance(node, yaml.ScalarNode) else ""
    return _error(node, f"the tag {_shown(node.tag)}{shown} is not supported")


def _error(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN_CHARACTERS]
