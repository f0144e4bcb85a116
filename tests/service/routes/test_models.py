from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
import torch

from tests.service.conftest import SCORES, Replica, Start, draft
from tests.service.fake_predictor import FakeHost, FakePredictor
from tests.service.problem_documents import problem
from uq4ct.model_store.base.identity import BaseIdentity
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.model_store.published import WrongBaseError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.schemas.models import Base

pytestmark = pytest.mark.anyio


async def test_every_version_with_its_state(start: Start) -> None:
    async with start() as replica:
        response = await replica.client.get("/models")
        states = {
            (card["name"], card["version"]): (card["aliases"], card["loaded"], card["ready"], card["default"])
            for card in response.json()["models"]
        }
        assert states == {
            ("toy", 1): (["production"], True, True, True),
            ("toy", 2): (["staging"], False, False, False),
            ("other", 1): (["production"], False, False, False),
        }
        assert "secret-place" not in response.text
        replica.context.engine.leave()
        assert [(await replica.client.get("/models/toy")).json()[key] for key in ("loaded", "ready")] == [True, False]


async def test_one_version_with_its_scores(start: Start) -> None:
    async with start() as replica:
        card = (await replica.client.get("/models/toy@2")).json()
        assert card == (await replica.client.get("/models/toy@staging")).json()
    assert card["version"] == 2
    assert card["scores"] == SCORES.model_dump(mode="json")
    assert card["base"] == {"name": "tiny", "revision": None, "digest": "sha256:" + "0f" * 32}
    assert card["calibration"]["value"] == 1.3
    assert card["reference_histograms"]["confidence"] == [2, 6, 12]
    assert card["batch_company"]["dtype"] == "float32"
    assert (card["posterior"], card["samples"], card["passes"]) == ({"kind": "point"}, 1, 1)


async def test_the_cost_of_a_sampled_answer_is_shown(start: Start, own_adapters: Registry) -> None:
    posterior = DropoutConfig(samples=12, share=0.25, seed=3)
    sampled = draft("sampled").model_copy(update={"posterior": posterior, "method": "mc_dropout"})
    own_adapters.publish(sampled, {"w": torch.ones(2)}, {}, promote=True)
    async with start(adapters=own_adapters) as replica:
        card = (await replica.client.get("/models/sampled")).json()
    assert card["posterior"] == {"kind": "dropout", "samples": 12, "share": 0.25, "seed": 3}
    assert (card["samples"], card["passes"]) == (12, 12)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("nobody", 404),
        ("toy@7", 404),
        ("toy@_", 404),
        ("UPPER", 422),
        ("..%2f..%2fetc", 404),
        ("%ff", 422),
        ("%00", 422),
    ],
)
async def test_what_is_not_registered(start: Start, name: str, status: int) -> None:
    async with start() as replica:
        response = await replica.client.get(f"/models/{name}")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_models_are_listed_before_any_is_loaded(start: Start, predictor: FakePredictor) -> None:
    predictor.forward_may_start.clear()
    async with start(wait=False) as replica:
        cards = (await replica.client.get("/models")).json()["models"]
    assert len(cards) == 3
    assert not any(card["ready"] for card in cards)


async def test_loading_and_unloading(start: Start) -> None:
    async with start() as replica:
        card = await replica.post("/models/toy@staging/load")
        assert card.status_code == 200
        assert [card.json()[key] for key in ("version", "loaded", "ready", "default")] == [2, True, True, False]
        assert replica.sample("model_loaded", model="toy", version="2") == 1
        card = await replica.post("/models/toy@2/unload")
        assert [card.json()[key] for key in ("version", "loaded", "ready", "default")] == [2, False, False, False]
        assert replica.sample("model_loaded", model="toy", version="2") == 0
        assert (await replica.post("/models/toy@2/unload")).status_code == 200
        refused = await replica.post("/models/toy/unload")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:uq4ct:problem:default-model")
        assert (await replica.ask()).json()["model"] == "toy@1"


@pytest.mark.parametrize("path", ["nobody/load", "toy@9/load", "toy@9/unload", "nobody/promote"])
async def test_a_change_of_what_is_not_registered(start: Start, path: str) -> None:
    async with start() as replica:
        response = await replica.post(f"/models/{path}", {"version": 1})
    assert (response.status_code, response.json()["type"]) == (404, "urn:uq4ct:problem:unknown-model")


@pytest.mark.parametrize("path", ["..%2f..%2fetc/load", "UPPER/load", "toy@2/promote", "toy%00/promote"])
async def test_only_names_are_taken_and_never_a_path(start: Start, path: str) -> None:
    async with start() as replica:
        assert (await replica.post(f"/models/{path}", {"version": 1})).status_code in (404, 422)


async def test_promoting_and_rolling_back(start: Start, own_adapters: Registry) -> None:
    async with start(adapters=own_adapters) as replica:
        for version in (2, 1, 2.0):
            card = await replica.post("/models/toy/promote", {"version": version})
            assert card.status_code == 200
            assert [card.json()[key] for key in ("version", "loaded", "default")] == [version, True, True]
            assert "production" in card.json()["aliases"]
            assert (await replica.ask()).json()["model"] == f"toy@{int(version)}"
            assert (await replica.client.get("/health/ready")).json()["model"] == f"toy@{int(version)}"
        await replica.post("/models/toy/promote", {"version": 1, "alias": "canary"})
        assert (await replica.ask(model="toy@canary")).json()["model"] == "toy@1"
        assert (await replica.ask()).json()["model"] == "toy@2"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": 0},
        {"version": "2"},
        {"version": 2.5},
        {"version": True},
        {"version": 10**9},
        {"version": 2, "alias": "1"},
        {"version": 2, "x": 1},
    ],
)
async def test_a_promotion_names_its_wrong_field(start: Start, own_adapters: Registry, body: dict[str, object]) -> None:
    async with start(adapters=own_adapters) as replica:
        response = await replica.post("/models/toy/promote", body)
    assert (response.status_code, response.json()["type"]) == (422, "urn:uq4ct:problem:invalid-field")


async def test_changes_are_refused_while_loading_and_draining(start: Start, predictor: FakePredictor) -> None:
    predictor.forward_may_start.clear()
    async with start(wait=False) as replica:
        for path in ("load", "unload", "promote"):
            assert (await replica.post(f"/models/toy/{path}", {"version": 1})).status_code == 503
        predictor.forward_may_start.set()
        await replica.context.engine.drain()
        assert (await replica.post("/models/toy/load")).json()["type"] == "urn:uq4ct:problem:draining"


CHANGES = ["toy@2/load", "other/unload", "toy/promote"]


@asynccontextmanager
async def held_up(replica: Replica, host: FakeHost, path: str) -> AsyncIterator[asyncio.Task[httpx2.Response]]:
    """Start a change that waits for a slow load until the context exits."""
    engine = replica.context.engine
    await engine.swaps.obtain("other")
    host.adding_may_end.clear()
    load = asyncio.create_task(engine.swaps.obtain("toy@2"))
    await replica.settle(lambda: "toy@2" in host.added)
    change = asyncio.create_task(replica.client.post(f"/models/{path}", json={"version": 2}))
    await replica.settle(lambda: len(engine.changes) == 1)
    yield change
    host.adding_may_end.set()
    await load


@pytest.mark.parametrize("path", CHANGES)
async def test_a_change_that_was_admitted_is_made_before_the_replica_leaves(
    start: Start, own_adapters: Registry, host: FakeHost, path: str
) -> None:
    async with start(adapters=own_adapters) as replica:
        async with held_up(replica, host, path) as change:
            draining = asyncio.create_task(replica.context.engine.drain())
            await asyncio.sleep(0.05)
            assert not draining.done()
            assert not change.done()
        response = await change
        await asyncio.wait_for(draining, 5)
    assert response.status_code == 200
    assert response.json()["loaded"] == ("unload" not in path)
    assert own_adapters.resolve("toy") == ("toy", 2 if "promote" in path else 1)


@pytest.mark.parametrize("path", CHANGES)
async def test_a_change_that_takes_longer_than_a_question_may_is_given_up(
    start: Start, own_adapters: Registry, host: FakeHost, path: str
) -> None:
    started = start(adapters=own_adapters, request_timeout_seconds=0.1)
    async with started as replica, held_up(replica, host, path) as change:
        await asyncio.sleep(0.2)
        assert not change.done()  # the timeout starts when the replica drains
        drain = replica.context.engine.drain
        await asyncio.wait_for(asyncio.gather(drain(), drain()), 5)
        response = await asyncio.wait_for(change, 5)
    problem(response, 503, "draining")
    assert own_adapters.resolve("toy") == ("toy", 1)


async def test_damaged_versions_are_listed_separately_and_cannot_be_loaded(
    start: Start, own_adapters: Registry, host: FakeHost
) -> None:
    (own_adapters.root / "toy" / "2" / "manifest.json").write_text("{}")
    weights = own_adapters.root / "other" / "1" / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    async with start(adapters=own_adapters) as replica:
        response = await replica.client.get("/models")
        listed = response.json()
        assert [(card["name"], card["version"]) for card in listed["models"]] == [("other", 1), ("toy", 1)]
        assert listed["damaged"] == [
            {
                "name": "toy",
                "version": 2,
                "aliases": ["staging"],
                "error": "manifest.json cannot be used: CorruptFileError",
            }
        ]
        answers = [
            await replica.client.get("/models/toy@2"),
            await replica.post("/models/toy@2/load"),
            await replica.post("/models/toy/promote", {"version": 2}),
            await replica.post("/models/other/load"),
            await replica.ask(model="toy@staging"),
        ]
        for answer in answers:
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:uq4ct:problem:model-unloadable")
            assert str(own_adapters.root) not in answer.text
        assert "adapter.safetensors" in answers[3].json()["detail"]
        assert (await replica.ask()).json()["model"] == "toy@1"


async def test_an_adapter_of_another_base_is_a_problem_of_its_own(start: Start, host: FakeHost) -> None:
    host.refused["toy@2"] = WrongBaseError("toy@2 was trained on /srv/weights/secret-place")
    async with start() as replica:
        for answer in (await replica.post("/models/toy@2/load"), await replica.ask(model="toy@2")):
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:uq4ct:problem:wrong-base")
            assert "secret-place" not in answer.text
        assert (await replica.ask()).status_code == 200


async def test_an_adapter_that_does_not_fit_is_a_problem(start: Start, host: FakeHost, adapters: Registry) -> None:
    host.given["toy@1"].memory_bytes = 999_999
    async with start(adapter_memory_mb=1) as replica:
        answer = await replica.ask(model="toy@2")
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:uq4ct:problem:model-unloadable")
        assert "999999" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tiny", "tiny"),
        ("owner/tiny", "owner/tiny"),
        ("/srv/w/tiny", "tiny"),
        ("./tiny", "tiny"),
        ("~/w/tiny", "tiny"),
        ("a/b/tiny", "tiny"),
    ],
)
def test_of_a_local_base_only_the_last_name_is_shown(name: str, shown: str) -> None:
    identity = BaseIdentity(name=name, revision=None, digest="sha256:" + "0f" * 32, model_type="llama")
    assert Base.from_identity(identity).name == shown
