"""The client lists stored predictions page by page."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from tests.service.client.scripted_service import ONCE
from tests.service.conftest import Start
from tests.service.ledger.conftest import id_of_age, insert, insert_label, make_record
from tests.service.listening import on_a_socket
from uq4ct.client import AsyncClient, Client, InvalidArgumentError, StoredPrediction, UnreadableResponseError
from uq4ct.service.ledger import listing
from uq4ct.service.ledger.database import Database

pytestmark = pytest.mark.anyio


async def test_both_forms_iterate_over_all_pages(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_READ", 2)  # so that there are pages, and empty ones among them
    filters: dict[str, Any] = {
        "window": "7d",
        "model": "toy",
        "confidence_from": 0.6,
        "labelled": True,
        "correct": False,
    }
    async with start() as replica, on_a_socket(replica) as address:
        database = Database(replica.context.settings.database_url)
        expected = []
        for number in range(12):
            record = make_record(prediction_id=id_of_age(number / 2 + 0.01), tenant="b", confidence=0.5 + number / 30)
            insert(database, record)
            if number % 2:
                insert_label(database, record, number // 2 % 2)
                if record.confidence >= 0.6 and number // 2 % 2 != record.option:
                    expected.append(record.prediction_id)
        database.close()

        def listed() -> list[StoredPrediction]:
            with Client(address, retries=ONCE) as client:
                return list(client.predictions(**filters))

        found = await asyncio.to_thread(listed)
        transport = httpx2.ASGITransport(replica.app)
        async with AsyncClient("http://localhost", transport=transport, retries=ONCE) as client:
            assert [one async for one in client.predictions(**filters)] == found
    assert [one.prediction_id for one in found] == expected != []
    assert {one.tenant for one in found} == {"b"}


def test_pages_that_lead_back_are_an_error() -> None:
    page = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "predictions": [], "next": "5"}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=page))
    with (
        Client("http://localhost", transport=transport, retries=ONCE) as client,
        pytest.raises(UnreadableResponseError, match="/predictions: the page after 5 leads back to 5"),
    ):
        list(client.predictions())


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"confidence_to": 1.5}, "confidence_to: must be a number from 0 to 1 (got 1.5)"),
        ({"correct": "no"}, "correct: must be True or False (got 'no')"),
        ({"tenant": 7}, "tenant: must be text (got 7)"),
        ({"confidence": 0.5}, "confidence: is no filter; allowed: window, model, tenant, task, confidence_from, "),
    ],
)
def test_a_wrong_filter_is_named_before_anything_is_sent(filters: dict[str, Any], message: str) -> None:
    with Client("http://localhost", retries=ONCE) as client, pytest.raises(InvalidArgumentError) as caught:
        client.predictions(**filters)
    assert str(caught.value).startswith(message)
