"""What happens to loads and unloads in progress when the replica shuts down."""

from __future__ import annotations

import asyncio

import pytest

from uq4ct.service.engine.changes import Changes
from uq4ct.service.engine.failures import DrainingError

pytestmark = pytest.mark.anyio


async def test_who_waits_later_gives_no_more_time() -> None:
    changes = Changes()

    async def leave() -> None:
        await asyncio.sleep(0)  # until the change is in progress
        await asyncio.gather(changes.finish(0.05), changes.finish(100))

    leaving = asyncio.create_task(leave())
    async with asyncio.timeout(5):
        with pytest.raises(DrainingError):
            async with changes.under_way():
                await asyncio.sleep(100)
        await leaving


async def test_a_change_that_times_out_by_itself_was_not_given_up() -> None:
    changes = Changes()
    with pytest.raises(TimeoutError, match="of the change"):
        async with changes.under_way():
            raise TimeoutError("of the change")
    await asyncio.wait_for(changes.finish(100), 1)
