"""The service chooses the threads of each batch."""

from __future__ import annotations

import pytest

from tests.service.conftest import Start
from uq4ct.model_store.threads import ThreadChoice

pytestmark = pytest.mark.anyio


async def test_each_batch_asks_and_the_metrics_show_the_number(start: Start) -> None:
    busy, times = iter([1.0, 0.0]), iter([0.0, 1.0, 2.0])
    used: list[int] = []
    choice = ThreadChoice(2, 2, lambda: next(busy), used.append, lambda: next(times))
    async with start(threads=choice) as replica:
        await replica.ask()
        assert replica.sample("model_threads") == 1
        await replica.ask()
        assert replica.sample("model_threads") == 2
    assert used == [1, 2]
