"""A recipe as YAML with a comment on every field: description, range and default from the configuration."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from uq4ct.training.allowed_values import describe_allowed
from uq4ct.training.run_config import RunConfig
from uq4ct.training.strict_yaml import dump_yaml

WIDTH = 100  # of a comment line
INDENT = "  "


def render_recipe(config: RunConfig, introduction: str) -> str:
    """Return a YAML recipe with a comment above every field; it loads back to the same configuration.

    All options of the method are written out; those that are not set have their defaults.
    """
    lines = [*_comment(introduction, ""), ""]
    for name in RunConfig.model_fields:
        value = config.method_options() if name == "options" else getattr(config, name)
        lines += [*_field(RunConfig, name, value, ""), ""]
    return "\n".join(lines).rstrip() + "\n"


def _section(model: BaseModel, indent: str) -> Iterator[str]:
    for name in _own_fields_first(type(model)):
        yield from _field(type(model), name, getattr(model, name), indent)


def _own_fields_first(owner: type[BaseModel]) -> list[str]:
    """Return the fields of a section, inherited ones last: file paths come before limits."""
    classes = [one for one in owner.mro() if issubclass(one, BaseModel)]
    names = (name for one in classes for name in one.__annotations__ if name in owner.model_fields)
    return list(dict.fromkeys(names))


def _field(owner: type[BaseModel], name: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, BaseModel) and type(value).model_fields:
        yield from _comment(_first_paragraph(value), indent)
        yield f"{indent}{name}:"
        yield from _section(value, indent + INDENT)
        return
    yield from _comment(_explain(owner, name), indent)
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else _value_in_json(owner, name, value)
    yield f"{indent}{name}: {dump_yaml(plain)}"


def _value_in_json(owner: type[BaseModel], name: str, value: Any) -> Any:
    """Return the JSON form of a field's value."""
    return owner.model_construct(**{name: value}).model_dump(mode="json", include={name})[name]


def _explain(owner: type[BaseModel], name: str) -> str:
    """Return the description, range and default of a field in one line."""
    schema = owner.model_json_schema()["properties"][name]
    parts = [schema.get("description", ""), describe_allowed(schema)]
    if "default" in schema:
        parts.append(f"default: {dump_yaml(schema['default'])}")
    return "; ".join(part for part in parts if part)


def _first_paragraph(model: BaseModel) -> str:
    paragraph = (type(model).__doc__ or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split())


def _comment(text: str, indent: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        for line in textwrap.wrap(paragraph, WIDTH - len(indent)) or [""]:
            yield f"{indent}# {line}".rstrip()
