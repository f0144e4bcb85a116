"""Who may read and label a prediction, and that nothing else tells whether there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Replica, Start
from tests.service.ledger.conftest import count_rows, id_of_age, insert, insert_label, make_record
from uq4ct.service.ledger.database import Database

pytestmark = pytest.mark.anyio
Header = dict[str, str]


@pytest.fixture
def headers(keys: KeyHolder) -> dict[str, Header]:
    """A key of the tenant a, one of b, and an admin's of a tenant without predictions."""
    return {
        "a": keys.new("predict", "feedback", key_id="a", tenant="a"),
        "b": keys.new("predict", "feedback", key_id="b", tenant="b"),
        "admin": keys.new("admin", key_id="admin", tenant="operators"),
    }


async def look(replica: Replica, prediction_id: str, header: Header) -> Any:
    return await replica.client.get(f"/predictions/{prediction_id}", headers=header)


async def label(replica: Replica, prediction_id: str, header: Header, answer: int = 0) -> Any:
    body = {"prediction_id": prediction_id, "answer": answer}
    return await replica.client.post("/feedback", headers=header, json=body)


async def test_an_admin_reads_and_labels_everything_and_a_tenant_its_own(
    start: Start, url: str, database: Database, keys: KeyHolder, headers: dict[str, Header]
) -> None:
    of_a, of_b = (make_record(prediction_id=id_of_age(1), tenant=tenant) for tenant in ("a", "b"))
    insert(database, of_a, of_b)
    async with start(database_url=url, api_keys_file=keys.file) as replica:
        for tenant, own, other in (("a", of_a, of_b), ("b", of_b, of_a)):
            assert (await look(replica, own.prediction_id, headers[tenant])).status_code == 200
            assert (await look(replica, other.prediction_id, headers[tenant])).status_code == 404
            assert (await label(replica, other.prediction_id, headers[tenant])).status_code == 404
        assert count_rows(database) == (2, 0)
        for record in (of_a, of_b):
            assert (await look(replica, record.prediction_id, headers["admin"])).status_code == 200
            assert (await label(replica, record.prediction_id, headers["admin"])).json()["result"] == "accepted"
        assert (await label(replica, of_a.prediction_id, headers["a"])).json()["result"] == "duplicate"
    assert count_rows(database) == (2, 2)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Collect what is asked of the database, except by the ledger's background work."""
    asked: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "prediction_set" in statement or statement.startswith("INSERT INTO labels"):
            asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", hear)
    try:
        yield asked
    finally:
        event.remove(database.engine, "before_cursor_execute", hear)


@pytest.mark.parametrize("days", [0.0, 1.0, 40.0], ids=["young", "old", "past retention"])
@pytest.mark.parametrize("state", ["stored", "labelled", "waiting"])
async def test_another_tenants_prediction_is_the_same_as_none(
    start: Start, url: str, database: Database, keys: KeyHolder, headers: dict[str, Header], days: float, state: str
) -> None:
    """The same status, document, headers and statements, with an answer that is an option and with one that is not."""
    foreign, unknown = (make_record(prediction_id=id_of_age(days), tenant="a") for _ in range(2))
    settings: dict[str, Any] = {"retention_days": 365 if days < 40 else 30, "ledger_flush_seconds": 60.0}
    async with start(database_url=url, api_keys_file=keys.file, **settings) as replica:
        ledger = replica.context.ledger
        if state == "waiting":
            ledger.record(foreign)
        else:
            insert(database, foreign)
        if state == "labelled":
            insert_label(database, foreign, 1)
        seen: dict[str, list[Any]] = {"foreign": [], "unknown": []}
        with statements(ledger.database) as asked:
            for name, record in (("foreign", foreign), ("unknown", unknown)):
                for answer in (None, 0, 1, 25):
                    if answer is None:
                        response = await look(replica, record.prediction_id, headers["b"])
                    else:
                        response = await label(replica, record.prediction_id, headers["b"], answer)
                    document = response.json()
                    del document["request_id"]
                    text = str(document).replace(record.prediction_id, "ID")
                    shown = {key: value for key, value in response.headers.items() if key != "x-request-id"}
                    seen[name].append((response.status_code, text, shown.keys(), list(asked)))
                    asked.clear()
        assert seen["foreign"] == seen["unknown"]
        assert {status for status, *_ in seen["foreign"]} == {404 if days == 1.0 else 503 if days == 0.0 else 410}
        if state == "waiting":
            assert replica.sample("ledger_buffer_depth") == 1, "another tenant's request has made it be written"
