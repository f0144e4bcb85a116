"""GET /models in pages, with entity tags, and with thousands of versions."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.many_versions import copy_versions
from tests.service.conftest import Replica, Start, draft
from tests.service.problem_documents import problem
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.routes.models import MOST_LISTED, USUALLY_LISTED

pytestmark = pytest.mark.anyio

ORDER = ["other@1", "toy@1", "toy@2"]


async def get(replica: Replica, **query: Any) -> dict[str, Any]:
    """Return a page of the list."""
    response = await replica.client.get("/models", params=query)
    assert response.status_code == 200
    return response.json()


def references(page: dict[str, Any]) -> list[str]:
    return [f"{model['name']}@{model['version']}" for model in page["models"]]


@pytest.mark.parametrize(
    ("search", "found"), [("", ORDER), ("o", ORDER), ("oy", ["toy@1", "toy@2"]), ("other", ["other@1"]), ("x", [])]
)
async def test_a_search_lists_the_names_that_contain_it(start: Start, search: str, found: list[str]) -> None:
    async with start() as replica:
        page = await get(replica, search=search)
        first = await get(replica, search=search, limit=1)
    assert references(page) == found
    assert references(first) == found[:1]
    assert (first["next"] is None) is (len(found) < 2)


@pytest.mark.parametrize(
    ("limit", "pages"), [(1, [["other@1"], ["toy@1"], ["toy@2"]]), (2, [ORDER[:2], ORDER[2:]]), (3, [ORDER])]
)
async def test_the_cursor_leads_through_every_version(start: Start, limit: int, pages: list[list[str]]) -> None:
    async with start() as replica:
        page = await get(replica, limit=limit)
        seen = [page]
        while page["next"] is not None:
            page = await get(replica, limit=limit, cursor=page["next"])
            seen.append(page)
        assert (await get(replica))["next"] is None
    assert list(map(references, seen)) == pages


async def test_a_version_that_is_deleted_between_two_pages_leaves_the_others(
    start: Start, own_adapters: Registry
) -> None:
    async with start(adapters=own_adapters) as replica:
        page = await get(replica, limit=1)
        own_adapters.publish(draft("other"), {"w": torch.ones(2)}, {}, promote=True)
        own_adapters.delete("other@1")
        assert references(await get(replica, cursor=page["next"])) == ["other@2", "toy@1", "toy@2"]
        assert references(await get(replica, cursor="toy@999")) == []


async def test_a_damaged_version_counts_in_its_page(start: Start, own_adapters: Registry) -> None:
    (own_adapters.root / "toy" / "1" / "manifest.json").write_text("{}")
    async with start(adapters=own_adapters, default_model="other") as replica:
        page = await get(replica, limit=2)
        assert references(page) == ["other@1"]
        assert [(entry["name"], entry["version"]) for entry in page["damaged"]] == [("toy", 1)]
        assert page["next"] == "toy@1"
        assert references(await get(replica, cursor=page["next"])) == ["toy@2"]


async def test_a_name_that_cannot_be_read_can_end_a_page(start: Start, own_adapters: Registry) -> None:
    (own_adapters.root / "pond").symlink_to("pond")
    async with start(adapters=own_adapters) as replica:
        page = await get(replica, limit=2)
        assert [(entry["name"], entry["version"]) for entry in page["damaged"]] == [("pond", None)]
        assert references(await get(replica, cursor=page["next"])) == ["toy@1", "toy@2"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", "0"), ("limit", str(MOST_LISTED + 1)), ("limit", "x"), ("cursor", "toy"), ("cursor", "../x@1"),
     ("cursor", "toy@-1"), ("cursor", ""), ("search", "Toy@1")],
)  # fmt: skip
async def test_a_wrong_page_is_a_problem_that_names_its_field(start: Start, field: str, value: str) -> None:
    async with start() as replica:
        response = await replica.client.get("/models", params={field: value})
    problem(response, 422, "invalid-field")
    assert field in response.json()["errors"][0]["field"]


async def test_an_entry_has_what_the_whole_card_says(start: Start) -> None:
    async with start() as replica:
        for entry in (await get(replica))["models"]:
            card = (await replica.client.get(f"/models/{entry['name']}@{entry['version']}")).json()
            assert entry == {field: card[field] for field in entry}
            assert {"posterior", "calibration", "decisions", "reference_histograms"} <= card.keys() - entry.keys()


async def test_an_unchanged_list_is_not_sent_again(start: Start, own_adapters: Registry) -> None:
    async with start(adapters=own_adapters) as replica:
        first = await replica.client.get("/models")
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            kept = await replica.client.get("/models", headers={"if-none-match": known})
            assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
        again = await replica.client.get("/models", headers={"if-none-match": '"other"'})
        assert (again.status_code, again.content, again.headers["etag"]) == (200, first.content, tag)


@pytest.mark.parametrize("change", ["alias", "load", "publish"])
async def test_a_changed_list_is_sent_again(start: Start, own_adapters: Registry, change: str) -> None:
    async with start(adapters=own_adapters) as replica:
        tag = (await replica.client.get("/models")).headers["etag"]
        if change == "alias":
            own_adapters.promote("toy", 2, "canary")
        elif change == "load":
            assert (await replica.post("/models/toy@2/load")).status_code == 200
        else:
            own_adapters.publish(draft("new"), {"w": torch.ones(2)}, {}, promote=False)
        answer = await replica.client.get("/models", headers={"if-none-match": tag})
        assert (answer.status_code, answer.headers["etag"] != tag) == (200, True)


@pytest.mark.slow
async def test_thousands_of_versions_cost_a_page_and_block_nobody(start: Start, own_adapters: Registry) -> None:
    copy_versions(own_adapters, "other", 5000)
    async with start(adapters=own_adapters) as replica:
        cold = [asyncio.ensure_future(replica.client.get("/models")) for _ in range(4)]
        slowest = 0.0
        while not all(one.done() for one in cold):
            await asyncio.sleep(0.005)  # the request alone may never give its turn to another task
            begin = time.perf_counter()
            assert (await replica.client.get("/health/live")).status_code == 200
            slowest = max(slowest, time.perf_counter() - begin)
        response = cold[0].result()
        assert len(response.content) < 200_000
        assert len(response.json()["models"]) == USUALLY_LISTED
        seconds = []
        for _ in range(5):
            begin = time.process_time()
            assert (await replica.client.get("/models")).content == response.content
            seconds.append(time.process_time() - begin)
    assert min(seconds) < 0.1
    assert slowest < 0.3


def test_copies_are_versions(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.publish(draft("toy"), {"w": torch.ones(2)}, {}, promote=True)
    copy_versions(registry, "toy", 3)
    for version in (1, 2, 3):
        registry.verify(f"toy@{version}")
