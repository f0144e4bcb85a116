from __future__ import annotations

import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.conftest import Start
from uq4ct.service.ids import LONGEST_LEAD_MS, milliseconds_of
from uq4ct.service.telemetry.request_ids import TimeOrderedIds


def make(times: list[float], draw: random.Random) -> list[str]:
    """Return the ids of a clock that shows these times."""
    moments = iter(times)
    ids = TimeOrderedIds(lambda: next(moments), draw.getrandbits)
    return [ids.new() for _ in times]


# A seed, not bits of hypothesis's choice: after a step back, only random bits keep ids apart.
@given(st.lists(st.floats(0, 2**38), min_size=2, max_size=50), st.integers(0, 2**32).map(random.Random))
def test_ids_are_distinct_and_near_the_clock_whatever_it_does(times: list[float], draw: random.Random) -> None:
    made = make(times, draw)
    assert len(set(made)) == len(made)
    assert all(uuid.UUID(one).version == 7 and uuid.UUID(one).variant == uuid.RFC_4122 for one in made)
    leads = [milliseconds_of(one) - int(moment * 1000) for one, moment in zip(made, times, strict=True)]  # type: ignore[operator]
    assert all(0 <= lead <= LONGEST_LEAD_MS for lead in leads)


@given(st.lists(st.floats(-0.4, 5.0), min_size=2, max_size=50), st.randoms(use_true_random=False))
def test_ids_rise_while_the_clock_steps_back_by_less_than_a_second(steps: list[float], draw: random.Random) -> None:
    """Each step starts at the latest time so far, so that none adds to another one."""
    times, latest = [1e9], 1e9
    for step in steps:
        times.append(latest + step)
        latest = max(latest, times[-1])
    made = make(times, draw)
    assert made == sorted(made)


def test_ids_follow_a_clock_that_was_a_year_ahead() -> None:
    now, year = 1_800_000_000.0, 365 * 86_400.0
    before, ahead, after, later = make([now, now + year, now + 1, now + 2], random.Random(0))
    assert before < after < later < ahead
    assert [milliseconds_of(one) for one in (after, later)] == [1_800_000_001_000, 1_800_000_002_000]


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
