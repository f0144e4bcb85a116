"""The threads of a process that trains or evaluates."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uq4ct.model_store.base.models import load_base_model
from uq4ct.training.model_process import leave_cpus, prepare_process


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of threads that are set, where torch has started with 4."""
    numbers: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    return numbers


@pytest.mark.parametrize(("usable", "threads"), [(1, 1), (3, 3), (8, 4)])
def test_there_are_no_more_threads_than_the_quota_has_cpus(
    monkeypatch: pytest.MonkeyPatch, used: list[int], usable: int, threads: int
) -> None:
    monkeypatch.setattr("uq4ct.model_store.threads.usable_cpus", lambda: usable)
    prepare_process()
    assert used == [threads]


@pytest.mark.parametrize(("fixed", "expected"), [(None, [1, 1, 4]), ("4", [])])
def test_a_forward_leaves_cpus_to_other_programs_unless_the_threads_are_fixed(
    monkeypatch: pytest.MonkeyPatch, used: list[int], tiny_folder: Any, fixed: str | None, expected: list[int]
) -> None:
    if fixed is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", fixed)
    busy = iter([3.0, 3.0, 0.0])
    monkeypatch.setattr("uq4ct.model_store.cpus.OtherPrograms.busy_cpus", lambda self: next(busy))
    monkeypatch.setattr("uq4ct.model_store.threads._BETWEEN_LOOKS", 0.0)
    for module in ("model_store.threads", "training.model_process"):
        monkeypatch.setattr(f"uq4ct.{module}.usable_cpus", lambda: 4)
    base = leave_cpus(load_base_model(str(tiny_folder)))
    for _ in range(3):
        base.model.get_decoder()(input_ids=torch.tensor([[1, 2]]))
    assert used == expected
