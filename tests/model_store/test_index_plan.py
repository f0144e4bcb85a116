"""Plans keep their numbers and their structure when they are copied to a device in one piece."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.index_plan import IndexPlan


@dataclass(frozen=True, slots=True)
class Inner(IndexPlan):
    rows: Tensor
    width: int


@dataclass(frozen=True, slots=True)
class Outer(IndexPlan):
    first: Tensor
    inner: Inner
    several: tuple[Inner, ...]
    none: Tensor | None
    sizes: tuple[int, ...]


def _plan() -> Outer:
    def inner(number: int) -> Inner:
        return Inner(torch.full((2, number), number), number)

    return Outer(torch.arange(3), inner(4), (inner(1), inner(2)), None, (5, 6))


def test_a_plan_on_the_host_is_not_copied() -> None:
    plan = _plan()
    assert plan.to(torch.device("cpu")) is plan


def test_every_tensor_is_copied_with_its_shape_in_one_piece(monkeypatch) -> None:
    copied: list[Tensor] = []
    to = Tensor.to

    def record(self: Tensor, *arguments, **options) -> Tensor:
        copied.append(to(self, torch.float64) if arguments[0] == torch.device("meta") else self)
        return copied[-1]

    monkeypatch.setattr(Tensor, "to", record)
    placed = _plan().to(torch.device("meta"))
    assert [len(one) for one in copied] == [3 + 8 + 2 + 4]
    assert placed.first.tolist() == [0, 1, 2]
    assert placed.inner.rows.tolist() == [[4] * 4] * 2
    assert [one.rows.tolist() for one in placed.several] == [[[1], [1]], [[2, 2], [2, 2]]]
    assert placed.first.dtype == torch.float64  # the copy, not the host's own
    assert (placed.none, placed.sizes, placed.inner.width) == (None, (5, 6), 4)
