"""Where a validation error lies in what the user wrote, and what to say of a key that a section does not have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag

Place = tuple[str | int, ...]
_Kind = tuple[Any, str | None]  # a type, and its tag where a section may be of several types


def written_place(model: type[BaseModel], place: Place) -> Place:
    """Return the keys of a place as the user wrote them: pydantic's has the tags of sections' types between them."""
    return _walk(model, place)[1]


def suggest_keys(model: type[BaseModel], section: Place, key: str) -> str:
    """Return what to write instead of `key`, which the section does not have."""
    kinds, _ = _walk(model, section)
    fields = {name: field for kind, _ in kinds if _is_model(kind) for name, field in kind.model_fields.items()}
    below = [name for name, field in fields.items() if _has_key(field.annotation, key)]
    near = [f"{name}.{key}" for name in below] or difflib.get_close_matches(key, fields, n=1)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"allowed are {', '.join(fields)}" if fields else "none is allowed"


def _has_key(annotation: Any, key: str) -> bool:
    return any(_is_model(kind) and key in kind.model_fields for kind, _ in _kinds(annotation))


def _walk(model: type[BaseModel], place: Place) -> tuple[list[_Kind], Place]:
    """Return what may be at a place, and the parts of the place that are keys."""
    kinds: list[_Kind] = [(model, None)]
    keys: Place = ()
    for part in place:
        inside = [inner for kind, _ in kinds for inner in _inside(kind, part)]
        if inside:
            kinds, keys = inside, (*keys, part)
        else:
            kinds = [kind for kind in kinds if part in _tags(*kind)] or kinds
    return kinds, keys


def _inside(kind: Any, part: str | int) -> tuple[_Kind, ...]:
    if _is_model(kind):
        return tuple(_kinds(kind.model_fields[part].annotation)) if part in kind.model_fields else ()
    if get_origin(kind) in (dict, Mapping) and isinstance(part, str):
        return tuple(_kinds(get_args(kind)[1]))
    if get_origin(kind) in (list, tuple) and isinstance(part, int):
        return tuple(_kinds(get_args(kind)[0]))
    return ()


def _kinds(annotation: Any, tag: str | None = None) -> Iterator[_Kind]:
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        yield from _kinds(inner, next((note.tag for note in notes if isinstance(note, Tag)), tag))
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _kinds(one, tag)
    else:
        yield annotation, tag


def _tags(kind: Any, tag: str | None) -> set[Any]:
    """Return what pydantic may call a type: its tag, or the fixed value of one of its fields."""
    fixed = {str(field.default) for field in kind.model_fields.values()} if _is_model(kind) else set()
    return fixed | {tag}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
