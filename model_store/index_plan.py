"""Index tensors that are made on the host and copied to the device of a forward in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


class IndexPlan:
    """Abstract: a frozen dataclass of int64 tensors, other plans and tuples of plans; other fields are not copied.

    A look-up on the device (`nonzero`, `unique`, `tolist`) would wait for all work that the device has been given.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def to(self, device: torch.device) -> Self:
        """Return the plan on a device: one copy, which the host does not wait for."""
        tensors = list(_tensors(self))
        if device.type == "cpu" or not tensors:
            return self
        whole = torch.cat([tensor.reshape(-1) for tensor in tensors])
        if device.type == "cuda":
            whole = whole.pin_memory()
        parts = whole.to(device, non_blocking=True).split([tensor.numel() for tensor in tensors])
        placed = (part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))
        return _with_tensors(self, placed)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, IndexPlan):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
    elif _is_plans(value):
        for one in value:
            yield from _tensors(one)


def _with_tensors(value: Any, tensors: Iterator[Tensor]) -> Any:
    """Return a copy with the next tensors in place of its own, in the order of `_tensors`."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, IndexPlan):
        return replace(value, **{one.name: _with_tensors(getattr(value, one.name), tensors) for one in fields(value)})
    if _is_plans(value):
        return tuple(_with_tensors(one, tensors) for one in value)
    return value


def _is_plans(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], IndexPlan)
