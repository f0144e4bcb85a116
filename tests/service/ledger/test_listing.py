"""The list of predictions compared with filters in Python, page by page, within a tenant's reach."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Start
from tests.service.ledger.conftest import id_of_age, insert, insert_label, make_record
from tests.service.problem_documents import problem
from uq4ct.service.ledger import listing
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.listing import Filters, list_predictions
from uq4ct.service.ledger.windows import window_of
from uq4ct.service.records import StoredPrediction

pytestmark = pytest.mark.anyio
FOREVER_MS = 10**13
TASKS, TENANTS, MODELS = ("law", "physics"), ("a", "b"), (("toy", 1), ("toy", 2), ("odd", 1))

maybe = st.none() | st.booleans()
share = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
filters = st.builds(
    Filters,
    task=st.none() | st.sampled_from(TASKS),
    confidence_from=share,
    confidence_to=share,
    abstain=maybe,
    labelled=maybe,
    correct=maybe,
)
windows = st.builds(
    lambda tenant, model: window_of(0, FOREVER_MS, tenant, model),
    st.none() | st.sampled_from([*TENANTS, "nobody"]),
    st.none() | st.sampled_from(["toy", "toy@1", "toy@2", "odd", "nothing@9"]),
)


@pytest.fixture
def stored(database: Database) -> list[StoredPrediction]:
    """Sixty predictions, two thirds of them labelled, newest first."""
    draw = random.Random(3)
    records = []
    for number in range(60):
        name, version = draw.choice(MODELS)
        record = make_record(
            prediction_id=id_of_age(number / 24),
            tenant=draw.choice(TENANTS),
            model=name,
            version=version,
            task=draw.choice(TASKS),
            confidence=draw.choice([0.25, 0.4, 0.5, 0.75, 0.9]),
            abstain=draw.random() < 0.5,
        )
        insert(database, record)
        if number % 3:
            insert_label(database, record, draw.randrange(2))
        records.append(record)
    page = list_predictions(database, window_of(0, FOREVER_MS, None, None), Filters(), 60, None)
    assert [one.record for one in page.predictions] == records
    assert (page.next, sum(one.label is None for one in page.predictions)) == (None, 20)
    return page.predictions


def passes(one: StoredPrediction, chosen: Filters, tenant: str | None, model: str | None, version: int | None) -> bool:
    """Whether a prediction is one of those that are asked for."""
    record, label = one.record, one.label
    return (
        tenant in (None, record.tenant)
        and model in (None, record.model)
        and version in (None, record.version)
        and chosen.task in (None, record.task)
        and (chosen.confidence_from is None or record.confidence >= chosen.confidence_from)
        and (chosen.confidence_to is None or record.confidence <= chosen.confidence_to)
        and chosen.abstain in (None, record.abstain)
        and chosen.labelled in (None, label is not None)
        and (chosen.correct is None or (label is not None and label.correct is chosen.correct))
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=filters, window=windows, limit=st.integers(1, 70), read=st.integers(1, 70))
def test_the_pages_have_every_prediction_that_passes_once_and_newest_first(
    database: Database,
    stored: list[StoredPrediction],
    chosen: Filters,
    window: Any,
    limit: int,
    read: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "MOST_READ", read)
        pages = [list_predictions(database, window, chosen, limit, None)]
        while pages[-1].next is not None:
            pages.append(list_predictions(database, window, chosen, limit, pages[-1].next))
            assert len(pages) < 100
    found = [one for page in pages for one in page.predictions]
    assert found == [one for one in stored if passes(one, chosen, window.tenant, window.model, window.version)]
    assert all(len(page.predictions) <= min(limit, read) for page in pages)


async def test_the_route_lists_what_a_key_may_see(
    start: Start, url: str, stored: list[StoredPrediction], keys: KeyHolder
) -> None:
    headers = {
        "a": keys.new("predict", key_id="a", tenant="a"),
        "admin": keys.new("admin", key_id="admin", tenant="operators"),
    }
    ids = {tenant: [one.record.prediction_id for one in stored if one.record.tenant == tenant] for tenant in TENANTS}
    async with start(database_url=url, api_keys_file=keys.file) as replica:

        async def get(key: str, **query: Any) -> Any:
            return await replica.client.get("/predictions", headers=headers[key], params={"window": "9d", **query})

        async def listed(key: str, **query: Any) -> list[str]:
            page = (await get(key, limit=200, **query)).json()
            assert page["next"] is None
            return [one["prediction_id"] for one in page["predictions"]]

        everything = [one.record.prediction_id for one in stored]
        assert await listed("a") == await listed("a", tenant="a") == await listed("admin", tenant="a") == ids["a"]
        assert await listed("admin") == everything
        assert await listed("admin", tenant="operators") == []
        refused = await get("a", tenant="b")
        problem(refused, 403, "forbidden")
        assert refused.json()["detail"] == "tenant b: the key belongs to a; an admin key may name any"
        page = (await get("admin", limit=7, cursor=everything[9])).json()
        assert [one["prediction_id"] for one in page["predictions"]] == everything[10:17]
        assert page["next"] == everything[16]
        assert page["predictions"][0]["tenant"] == stored[10].record.tenant
        assert await listed("admin", window="1h") == everything[:1]


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ({"confidence_from": 0.9, "confidence_to": 0.5}, "confidence_to", "must be at least confidence_from, 0.9"),
        ({"confidence_from": 1.5}, "confidence_from", "less than or equal to 1"),
        ({"limit": 201}, "limit", "less than or equal to 200"),
        ({"cursor": "x"}, "cursor", "should match pattern"),
        ({"window": "1y"}, "window", "should match pattern"),
        ({"correct": "perhaps"}, "correct", "valid boolean"),
    ],
)
async def test_a_wrong_filter_is_a_problem_that_names_it(
    start: Start, query: dict[str, Any], field: str, message: str
) -> None:
    async with start() as replica:
        response = await replica.client.get("/predictions", params=query)
    problem(response, 422, "invalid-field")
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert message in error["message"]
