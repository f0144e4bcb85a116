from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.conftest import Start
from uq4ct.service.telemetry.request_ids import TimeOrderedIds


@given(st.lists(st.floats(0, 2**38), min_size=2, max_size=50), st.integers(0, 2**62 - 1))
def test_ids_rise_whatever_the_clock_does(times: list[float], noise: int) -> None:
    moments = iter(times)
    ids = TimeOrderedIds(lambda: next(moments), lambda bits: noise % 2**bits)
    made = [ids.new() for _ in times]
    assert made == sorted(set(made))
    assert all(uuid.UUID(one).version == 7 and uuid.UUID(one).variant == uuid.RFC_4122 for one in made)


def test_an_id_holds_its_millisecond() -> None:
    # RFC 9562, appendix A.6: 0x017F22E279B0 is 2022-02-22 19:22:22 UTC; the counter is the 12 bits after the version.
    bits = {11: 0x4C3, 62: 0x18C4DC0C0C07398F}
    made = TimeOrderedIds(lambda: 0x017F22E279B0 / 1000, bits.__getitem__).new()
    assert made == "017f22e2-79b0-74c3-98c4-dc0c0c07398f"


@pytest.mark.anyio
@pytest.mark.parametrize("given_id", ["abc-123", "a" * 128])
async def test_a_clients_request_id_comes_back(start: Start, given_id: str) -> None:
    async with start() as replica:
        response = await replica.client.get("/health/live", headers={"x-request-id": given_id})
    assert response.headers["x-request-id"] == given_id


@pytest.mark.anyio
@pytest.mark.parametrize("given_id", ["", "a" * 129, "a b", 'x"}\\n', "é"])
async def test_an_unsafe_request_id_is_replaced(start: Start, given_id: str) -> None:
    async with start() as replica:
        headers = [(b"x-request-id", given_id.encode("latin-1"))]
        response = await replica.client.get("/health/live", headers=headers)
    assert uuid.UUID(response.headers["x-request-id"]).version == 7
