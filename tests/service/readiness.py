"""Wait for a server."""

from __future__ import annotations

import asyncio

import httpx2


async def until_ready(client: httpx2.AsyncClient) -> None:
    """Return when the client's server is ready."""
    for _ in range(2400):
        try:
            if (await client.get("/health/ready")).status_code == 200:
                return
        except httpx2.ConnectError:
            pass
        await asyncio.sleep(0.05)
    raise TimeoutError("the server never became ready")


def wait_until_ready(address: str) -> None:
    """Return when the server at this address is ready."""

    async def wait() -> None:
        async with httpx2.AsyncClient(base_url=address, timeout=5) as client:
            await until_ready(client)

    asyncio.run(wait())
