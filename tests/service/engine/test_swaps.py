"""Load -> warm -> swap -> free: what is in memory, what a name points to, and what failures leave unchanged."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
from collections.abc import Callable

import pytest

from tests.service.conftest import draft
from tests.service.engine.engines import Run, hold_forward, question, sample, started, until
from tests.service.fake_predictor import FakeHost, FakePredictor, answer_to
from uq4ct.model_store.published import WrongBaseError
from uq4ct.model_store.storage.errors import CorruptFileError, MissingFileError, NewerFormatError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.engine import Engine
from uq4ct.service.engine.failures import (
    BudgetTooSmallError,
    DeadlinePassedError,
    DefaultModelError,
    LoadFailedError,
    NoRoomError,
    StoreReadOnlyError,
    UnknownModelError,
)
from uq4ct.service.engine.predictor import Served

pytestmark = pytest.mark.anyio


@pytest.fixture
def adapters(own_adapters: Registry) -> Registry:
    """A store that these tests may change."""
    return own_adapters


async def answering(engine: Engine, reference: str | None = None) -> str:
    """Return the version that answers, after checking that the answer is its own."""
    ask = question(7, reference=reference)
    (outcome,) = await engine.submit([ask])
    assert isinstance(outcome, Served), outcome
    assert outcome.answer == answer_to(ask.question, outcome.manifest.version)
    return outcome.manifest.reference


def in_memory(engine: Engine) -> list[str]:
    return [adapter.manifest.reference for adapter in engine.loaded]


async def test_promoting_loads_warms_and_switches_the_name(
    run: Run, host: FakeHost, adapters: Registry, predictor: FakePredictor
) -> None:
    async with run() as engine:
        assert await answering(engine) == "toy@1"
        await engine.swaps.promote("toy", 2, "production")
        assert [await answering(engine, name) for name in (None, "toy", "toy@production")] == ["toy@2"] * 3
        assert await answering(engine, "toy@1") == "toy@1"
        assert adapters.resolve("toy") == ("toy", 2)
        warmed = host.present["toy@2"].batches
        assert [batch[0].id for batch in warmed[:2]] == ["warm-up", ""]
        await engine.swaps.promote("toy", 1, "production")  # rolls back
        assert await answering(engine) == "toy@1"
        assert host.added == ["toy@1", "toy@2"]  # the replaced version had stayed
        assert (sample(engine, "model_loaded", model="toy", version="2")) == 1
    assert host.threads == {"model-worker"}
    assert all(name.startswith("store-reader") for name in host.preparing_threads)


async def test_another_alias_leaves_the_default(run: Run) -> None:
    async with run() as engine:
        await engine.swaps.promote("toy", 2, "canary")
        assert [await answering(engine, name) for name in (None, "toy", "toy@canary")] == ["toy@1", "toy@1", "toy@2"]


async def test_a_default_that_names_a_version_is_not_moved_by_promoting(run: Run) -> None:
    async with run(default="toy@1") as engine:
        await engine.swaps.promote("toy", 2, "production")
        assert [await answering(engine, name) for name in (None, "toy")] == ["toy@1", "toy@2"]


async def test_questions_from_before_are_answered_by_the_version_from_before(
    run: Run, host: FakeHost, predictor: FakePredictor
) -> None:
    async with run() as engine:
        await engine.swaps.obtain("toy@2")
        first = await hold_forward(engine, predictor)
        before = [started(engine, question(n)) for n in range(1, 4)]
        await until(lambda: sample(engine, "queue_depth") == 3)
        await engine.swaps.promote("toy", 2, "production")  # already loaded, so it waits for no forward
        after = started(engine, question(4))
        unload = asyncio.create_task(engine.swaps.unload("toy@1"))
        await until(lambda: sample(engine, "queue_depth") == 4)
        assert not unload.done()
        predictor.forward_may_start.set()
        outcomes = [(await task)[0] for task in (first, *before, after)]
        assert await unload == "toy@1"
    assert [outcome.manifest.version for outcome in outcomes if isinstance(outcome, Served)] == [1, 1, 1, 1, 2]
    assert host.removed == ["toy@1"]


async def test_an_unloaded_version_is_loaded_when_it_is_asked(run: Run, host: FakeHost) -> None:
    async with run() as engine:
        assert await answering(engine, "toy@2") == "toy@2"
        assert await engine.swaps.unload("toy@staging") == "toy@2"
        assert sample(engine, "model_loaded", model="toy", version="2") == 0
        assert in_memory(engine) == list(host.present) == ["toy@1"]
        assert await engine.swaps.unload("toy@2") == "toy@2"  # a second time changes nothing
        assert await answering(engine, "toy@staging") == "toy@2"
        assert sample(engine, "model_loaded", model="toy", version="2") == 1
    assert host.added == ["toy@1", "toy@2", "toy@2"]


async def test_the_memory_of_a_load_and_of_an_unload_goes_back_to_the_system(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[str] = []
    monkeypatch.setattr("uq4ct.service.engine.swaps.return_free_memory", lambda: returned.append("free"))
    async with run() as engine:
        loaded = len(returned)
        assert loaded == 1
        await answering(engine, "toy@2")
        assert len(returned) == loaded + 1
        await engine.swaps.unload("toy@2")
        assert len(returned) == loaded + 2


async def test_one_load_for_all_who_ask(run: Run, host: FakeHost) -> None:
    async with run() as engine:
        host.adding_may_end.clear()
        asked = [started(engine, question(n, reference=("toy@2", "toy@staging")[n % 2])) for n in range(10)]
        await until(lambda: host.added == ["toy@1", "toy@2"])
        asked[0].cancel()  # the request that started the load may be cancelled
        await asyncio.sleep(0.01)
        host.adding_may_end.set()
        outcomes = [(await task)[0] for task in asked[1:]]
    assert {outcome.manifest.reference for outcome in outcomes if isinstance(outcome, Served)} == {"toy@2"}
    assert host.added == ["toy@1", "toy@2"]


async def test_a_load_that_takes_too_long_is_a_passed_deadline_for_its_question_only(run: Run, host: FakeHost) -> None:
    async with run(seconds=0.2) as engine:
        host.adding_may_end.clear()
        (late,) = await engine.submit([question(1, reference="toy@2")])
        assert isinstance(late, DeadlinePassedError)
        host.adding_may_end.set()
        await until(lambda: engine.is_loaded("toy@2"))
        assert await answering(engine, "toy@2") == "toy@2"


async def test_mixed_references_in_one_request(run: Run) -> None:
    async with run(adapter_bytes=16) as engine:  # room for the default and one more
        asks = [
            question(n, reference=name) for n, name in enumerate(["toy@2", None, "other", "toy@9", "toy@1", "toy@2"])
        ]
        outcomes = await engine.submit(asks)
    assert [
        outcome.manifest.reference if isinstance(outcome, Served) else type(outcome).__name__ for outcome in outcomes
    ] == ["toy@2", "toy@1", "other@1", "UnknownModelError", "toy@1", "toy@2"]


@pytest.fixture
def refusals(adapters: Registry, host: FakeHost) -> dict[str, Callable[[], object]]:
    """Return functions that make toy@2 unloadable, by name."""
    folder = adapters.root / "toy" / "2"
    weights, manifest = folder / "adapter.safetensors", folder / "manifest.json"

    def of_a_newer_format() -> None:
        record = json.loads(manifest.read_bytes()) | {"format_version": 99}
        manifest.write_text(json.dumps(record))
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        (folder / "manifest.sha256").write_text(f"{digest}  manifest.json\n")

    def of_another_base() -> None:
        host.refused["toy@2"] = WrongBaseError("/srv/weights/secret-place is another base")

    def too_long_for_a_batch() -> None:
        host.given["toy@2"] = FakePredictor(adapters.manifest("toy@2"), token_limit=65)

    def that_answers_nonsense() -> None:
        host.given["toy@2"] = FakePredictor(adapters.manifest("toy@2"))
        host.given["toy@2"].spoil = {"confidence": float("nan")}

    return {
        "corrupt": lambda: weights.write_bytes(weights.read_bytes()[:-1] + b"\x01"),
        "truncated": lambda: weights.write_bytes(weights.read_bytes()[:-4]),
        "missing": weights.unlink,
        "newer format": of_a_newer_format,
        "wrong base": of_another_base,
        "too long": too_long_for_a_batch,
        "nonsense": that_answers_nonsense,
    }


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ("corrupt", CorruptFileError),
        ("truncated", CorruptFileError),
        ("missing", MissingFileError),
        ("newer format", NewerFormatError),
        ("wrong base", WrongBaseError),
        ("too long", BudgetTooSmallError),
        ("nonsense", ValueError),
    ],
)
async def test_what_cannot_be_loaded_leaves_the_old_one_serving(
    run: Run, host: FakeHost, adapters: Registry, refusals: dict[str, Callable[[], object]], wrong: str, cause: type
) -> None:
    async with run() as engine:
        refusals[wrong]()
        for change in (engine.swaps.promote("toy", 2, "production"), engine.swaps.obtain("toy@2")):
            with pytest.raises(LoadFailedError) as refused:
                await change
            assert isinstance(refused.value.cause, cause)
        assert adapters.resolve("toy") == ("toy", 1)
        outcomes = await engine.submit([question(1), question(2, reference="toy@2")])
        assert [type(outcome) for outcome in outcomes] == [Served, LoadFailedError]
        assert [await answering(engine, name) for name in (None, "toy", "toy@1")] == ["toy@1"] * 3
        assert in_memory(engine) == list(host.present) == ["toy@1"]


async def test_an_alias_that_cannot_be_written_keeps_its_meaning(run: Run, adapters: Registry) -> None:
    async with run() as engine:
        folder = adapters.root / "toy"
        (folder / ".lock").unlink()
        (folder / ".lock").mkdir()  # like a read-only store, this makes taking the lock fail
        with pytest.raises(StoreReadOnlyError):
            await engine.swaps.promote("toy", 2, "production")
        assert await answering(engine, "toy") == "toy@1"


async def test_what_is_not_registered_is_unknown(run: Run) -> None:
    async with run() as engine:
        for reference in ("nobody", "toy@9", "toy@nothing", "toy@01"):
            with pytest.raises(UnknownModelError, match=reference):
                await engine.swaps.obtain(reference)
            with pytest.raises(UnknownModelError):
                await engine.swaps.unload(reference)
        with pytest.raises(UnknownModelError):
            await engine.swaps.promote("toy", 9, "production")


async def test_the_default_is_never_unloaded(run: Run) -> None:
    async with run() as engine:
        for reference in ("toy", "toy@1", "toy@production"):
            with pytest.raises(DefaultModelError):
                await engine.swaps.unload(reference)
        assert await answering(engine) == "toy@1"


async def test_the_least_recently_used_goes_and_never_the_default_or_one_at_work(
    run: Run, host: FakeHost, adapters: Registry
) -> None:
    two = host.given["toy@2"] = FakePredictor(adapters.manifest("toy@2"))
    three = adapters.publish(draft("toy"), adapters.load("toy@2").tensors, {}, promote=False).reference
    async with run(adapter_bytes=24) as engine:  # three of 8 bytes
        await answering(engine, "toy@2")
        await answering(engine, "other")
        await answering(engine, "toy@2")
        await answering(engine, three)
        assert sorted(in_memory(engine)) == ["toy@1", "toy@2", "toy@3"]  # other was used longest ago
        two.forward_may_start.clear()
        at_work = started(engine, question(1, reference="toy@2"))
        await until(two.forward_started.is_set)
        other = started(engine, question(2, reference="other"))
        await until(lambda: "toy@3" not in in_memory(engine))
        two.forward_may_start.set()
        await asyncio.gather(at_work, other)
        assert sorted(in_memory(engine)) == sorted(host.present) == ["other@1", "toy@1", "toy@2"]


async def test_a_load_waits_for_room_until_somebody_lets_go(run: Run, host: FakeHost, adapters: Registry) -> None:
    two = host.given["toy@2"] = FakePredictor(adapters.manifest("toy@2"))
    async with run(adapter_bytes=16, seconds=0.5) as engine:
        await answering(engine, "toy@2")
        two.forward_may_start.clear()
        at_work = started(engine, question(1, reference="toy@2"))
        await until(lambda: len(two.batches) == 3)
        other = started(engine, question(2, reference="other"))
        await asyncio.sleep(0.05)
        assert "other@1" not in host.added
        two.forward_may_start.set()
        assert isinstance((await other)[0], Served)
        assert isinstance((await at_work)[0], Served)


async def test_no_room_ever_or_for_too_long_is_said(run: Run, host: FakeHost, adapters: Registry) -> None:
    async with run(adapter_bytes=15) as engine:
        (outcome,) = await engine.submit([question(1, reference="toy@2")])
        assert isinstance(outcome, LoadFailedError)
        assert isinstance(outcome.cause, NoRoomError)
        assert await answering(engine) == "toy@1"
    async with run(adapter_bytes=16, seconds=0.1) as engine:
        two = await engine.swaps.obtain("toy@2")
        with engine.loaded.holding([two]), pytest.raises(LoadFailedError) as refused:
            await engine.swaps.obtain("other")
        assert isinstance(refused.value.cause, NoRoomError)
        assert await answering(engine, "other") == "other@1"


async def test_weights_that_a_posterior_draws_need_room_too(run: Run, host: FakeHost, adapters: Registry) -> None:
    two = host.given["toy@2"] = FakePredictor(adapters.manifest("toy@2"))
    two.memory_bytes = 20  # 8 of them stored
    async with run(adapter_bytes=28) as engine:
        assert await answering(engine, "other") == "other@1"
        assert await answering(engine, "toy@2") == "toy@2"
        assert sorted(in_memory(engine)) == sorted(host.present) == ["toy@1", "toy@2"]  # other@1 was evicted
    two.memory_bytes = 21
    async with run(adapter_bytes=28) as engine:
        (outcome,) = await engine.submit([question(1, reference="toy@2")])
        assert isinstance(outcome, LoadFailedError)
        assert str(outcome.cause) == "toy@2 needs 21 bytes beside 8 of the default model (limit: 28)"
        assert sorted(in_memory(engine)) == sorted(host.present) == ["toy@1"]


async def test_an_alias_that_somebody_else_changed_is_followed(run: Run, adapters: Registry, host: FakeHost) -> None:
    async with run(poll=0.02) as engine:
        adapters.promote("toy", 2)
        await until(lambda: engine.default_manifest.version == 2)
        assert await answering(engine, "toy") == "toy@2"
        assert [batch[0].id for batch in host.present["toy@2"].batches[:2]] == ["warm-up", ""]
        adapters.promote("toy", 1)
        await until(lambda: engine.default_manifest.version == 1)


async def test_without_a_poll_a_name_keeps_its_meaning(run: Run, adapters: Registry) -> None:
    async with run(poll=0.0) as engine:
        adapters.promote("toy", 2)
        await asyncio.sleep(0.1)
        assert await answering(engine, "toy") == "toy@1"


async def test_an_alias_that_cannot_be_followed_keeps_its_meaning_and_is_logged_once(
    run: Run,
    adapters: Registry,
    refusals: dict[str, Callable[[], object]],
    host: FakeHost,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with run(poll=0.01) as engine:
        refusals["wrong base"]()
        adapters.promote("toy", 2)
        await until(lambda: host.added.count("toy@2") > 3)
        assert await answering(engine, "toy") == "toy@1"
        host.refused.clear()
        await until(lambda: engine.default_manifest.version == 2)
    assert [record.message for record in caplog.records].count("alias not followed") == 1


async def test_a_version_that_cannot_be_loaded_is_tried_ever_more_seldom(
    run: Run, adapters: Registry, refusals: dict[str, Callable[[], object]], host: FakeHost
) -> None:
    """Each attempt may evict an adapter: they are 0.02, 0.04, 0.08 ... s apart, while the store is checked 25 times."""
    async with run(poll=0.02) as engine:
        refusals["wrong base"]()
        adapters.promote("toy", 2)
        await asyncio.sleep(0.5)
        assert 2 <= host.added.count("toy@2") <= 6
        assert await answering(engine, "toy") == "toy@1"


async def test_fifty_swaps_under_load_and_every_answer_is_of_the_version_it_names(
    run: Run, host: FakeHost, adapters: Registry
) -> None:
    stop = threading.Event()
    versions: set[int] = set()
    answered = 0

    async def client(number: int, reference: str | None) -> None:
        nonlocal answered
        while not stop.is_set():
            ask = question(number, 3 + answered % 20, reference)
            (outcome,) = await engine.submit([ask])
            assert isinstance(outcome, Served), outcome
            assert outcome.answer == answer_to(ask.question, outcome.manifest.version)
            versions.add(outcome.manifest.version)
            answered += 1

    async with run(adapter_bytes=16) as engine:
        level = in_memory(engine)
        clients = [asyncio.create_task(client(n, (None, "toy", "toy@production")[n % 3])) for n in range(12)]
        for swap in range(50):
            await engine.swaps.promote("toy", 2 - swap % 2, "production")
            await engine.swaps.unload(f"toy@{1 + swap % 2}")  # so that each swap loads and unloads
            before = answered
            await until(lambda before=before: answered > before + 3)
        stop.set()
        await asyncio.gather(*clients)
        assert in_memory(engine) == list(host.present) == level
    assert versions == {1, 2}
    assert len(host.added) == len(host.removed) + 1 == 51
