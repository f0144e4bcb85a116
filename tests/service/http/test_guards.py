"""Which requests are accepted or rejected, and that keys never leak."""

from __future__ import annotations

import asyncio
import datetime
import hmac
import json
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse

from tests.ports import free_port
from tests.service.access.fake_clocks import FakeTime
from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Replica, Start
from tests.service.fake_predictor import FakeHost, FakePredictor
from tests.service.http.every_request import every_request
from tests.service.problem_documents import QUESTION, problem
from tests.service.readiness import until_ready
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.access.key_ring import KeyRing
from uq4ct.service.access.keys import revoke_key
from uq4ct.service.app import all_routes, create_app
from uq4ct.service.http.guards import (
    PUBLIC_PATHS,
    Scope,
    UnguardedRouteError,
    guards_of,
    refuse_unguarded_routes,
    require,
)
from uq4ct.service.server import serve
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.logs import JsonFormatter
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

pytestmark = pytest.mark.anyio


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    """A file with one key `k` with the scope predict."""
    holder = KeyHolder(tmp_path)
    holder.new("predict")
    return holder


async def ask(replica: Replica, **headers: str) -> httpx2.Response:
    return await replica.client.post("/predict", json=QUESTION, headers=headers)


def refused(response: httpx2.Response, status: int, slug: str) -> None:
    """Check for a problem document or, under /v2, that protocol's error object."""
    if response.request.url.path.startswith("/v2"):
        assert (response.status_code, list(response.json())) == (status, ["error"])
    else:
        problem(response, status, slug)


async def test_every_route_without_a_key_is_401(start: Start, keys: KeyHolder) -> None:
    async with start(api_keys_file=keys.file, docs_need_key=True) as replica:
        requests = every_request(replica.app, PUBLIC_PATHS)
        assert {("POST", "/predict"), ("POST", "/predict/batch"), ("GET", "/models"), ("GET", "/openapi.json")} < set(
            requests
        )
        for method, path in requests:
            for headers in ({}, {"authorization": "Bearer uq4ct_wrong"}):
                response = await replica.client.request(method, path, headers=headers)
                refused(response, 401, "unauthorized")
                assert response.headers["www-authenticate"] == "Bearer"


async def test_every_route_with_the_wrong_scope_is_403(start: Start, keys: KeyHolder) -> None:
    # Each route is called with a key that has every scope except the one it needs.
    headers = {
        scope: keys.new(
            *(other for other in (Scope.PREDICT, Scope.FEEDBACK) if other is not scope), key_id=f"no-{scope}"
        )
        for scope in Scope
    }
    async with start(api_keys_file=keys.file, docs_need_key=True) as replica:
        tried = 0
        for route in iter_route_contexts(replica.app.routes):
            if isinstance(route.original_route, APIRoute) and (guards := list(guards_of(route.dependant))):
                (method,) = route.methods or set()
                path = (route.path or "").replace("{", "").replace("}", "")
                response = await replica.client.request(method, path, headers=headers[guards[-1].scope])
                refused(response, 403, "forbidden")
                tried += 1
        assert tried >= 6


async def test_public_routes_need_none(start: Start, keys: KeyHolder) -> None:
    async with start(api_keys_file=keys.file) as replica:
        for path in (*PUBLIC_PATHS, "/openapi.json"):
            assert (await replica.client.get(path.format(name="page.css"))).status_code == 200, path
        assert {route.path for route in iter_route_contexts(replica.app.routes)} >= PUBLIC_PATHS


async def test_docs_with_a_key(start: Start, keys: KeyHolder) -> None:
    async with start(api_keys_file=keys.file, docs_need_key=True) as replica:
        assert (await replica.client.get("/docs")).status_code == 200  # it contains no data
        problem(await replica.client.get("/openapi.json"), 401, "unauthorized")
        document = await replica.client.get("/openapi.json", headers=keys.header("k"))
        assert document.json()["openapi"].startswith("3.")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_a_key_with_the_scope_is_let_in(start: Start, keys: KeyHolder, scheme: str) -> None:
    async with start(api_keys_file=keys.file) as replica:
        assert (await ask(replica, authorization=f"{scheme} {keys.key('k')}")).status_code == 200


@pytest.mark.parametrize("scheme", ["Basic", "", "Bearer Bearer"])
async def test_a_key_by_another_scheme_is_401(start: Start, keys: KeyHolder, scheme: str) -> None:
    async with start(api_keys_file=keys.file) as replica:
        problem(await ask(replica, authorization=f"{scheme} {keys.key('k')}"), 401, "unauthorized")


async def test_admin_may_do_everything(start: Start, keys: KeyHolder) -> None:
    headers = keys.new("admin", key_id="root")
    async with start(api_keys_file=keys.file) as replica:
        assert (await ask(replica, **headers)).status_code == 200
        assert (await replica.client.get("/models", headers=headers)).status_code == 200


async def test_without_a_file_of_keys_nobody_needs_one(start: Start) -> None:
    async with start() as replica:
        assert (await ask(replica)).status_code == 200
        assert (await ask(replica, authorization="Bearer whatever")).status_code == 200


async def test_a_key_in_two_headers_is_rejected(start: Start, keys: KeyHolder) -> None:
    async with start(api_keys_file=keys.file) as replica:
        headers = [("authorization", f"Bearer {keys.key('k')}")] * 2
        problem(await replica.client.get("/models", headers=headers), 401, "unauthorized")


async def test_a_stranger_is_refused_before_the_body_is_read(start: Start, keys: KeyHolder) -> None:
    keys.new("feedback", key_id="labeller")
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b" " * 1000

    async with start(api_keys_file=keys.file) as replica:
        for key_id, code in (("unknown", 401), ("labeller", 403)):
            headers = {"content-type": "application/json", **keys.header(key_id)}
            response = await replica.client.post("/predict", content=body(), headers=headers)
            assert response.status_code == code
        assert read == 0
        headers = {"content-type": "application/json", **keys.header("k")}
        assert (await replica.client.post("/predict", content=body(), headers=headers)).status_code == 400
        assert read == 100


_ODD_HEADERS = (b"Bearer", b"Bearer ", b"Basic x", b"Bearer \xff\x00", b"\xe9", b"Bearer " + b"k" * 10_000)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.binary(max_size=60)
            | st.sampled_from(
                [b"Bearer", b"Bearer ", b"Basic x", b"Bearer \xff\x00", b"\xe9", b"Bearer " + b"k" * 10_000]
            ),
            max_size=3,
        ),
        min_size=1,
        max_size=20,
    )
)
@example([[b"Bearer \xff\x00"], [b"Bearer"]])
def test_garbage_in_the_header_is_401(start: Start, keys: KeyHolder, requests: list[list[bytes]]) -> None:
    async def statuses() -> set[int]:
        async with start(api_keys_file=keys.file) as replica:
            built = [
                replica.client.build_request("GET", "/models", headers=[(b"authorization", value) for value in values])
                for values in requests
            ]
            return {(await replica.client.send(request)).status_code for request in built}

    assert asyncio.run(statuses()) == {401}


async def test_keys_come_and_go_while_it_runs(start: Start, keys: KeyHolder) -> None:
    time = FakeTime()
    async with start(api_keys_file=keys.file, clocks=time.clocks) as replica:
        new = keys.new("predict", key_id="next")
        assert (await ask(replica, **new)).status_code == 401  # the file has not been reread yet
        time.advance(1)
        assert (await ask(replica, **new)).status_code == 200  # along with the old one
        assert (await ask(replica, **keys.header("k"))).status_code == 200
        revoke_key(keys.file, "k")
        time.advance(1)
        assert (await ask(replica, **keys.header("k"))).status_code == 401
        assert (await ask(replica, **new)).status_code == 200


async def test_an_expired_key_is_401(start: Start, keys: KeyHolder) -> None:
    time = FakeTime()
    end = datetime.datetime.fromtimestamp(time.clocks.wall() + 10, datetime.UTC)
    headers = keys.new("predict", key_id="short", expires_at=end)
    async with start(api_keys_file=keys.file, clocks=time.clocks) as replica:
        time.advance(9.9)
        assert (await ask(replica, **headers)).status_code == 200
        time.advance(0.1)
        problem(await ask(replica, **headers), 401, "unauthorized")


def test_a_file_changed_in_place_is_read_again(keys: KeyHolder) -> None:
    time = FakeTime()
    ring = KeyRing(keys.file, time.clocks)
    records = json.loads(keys.file.read_text())
    records[0]["id"] = "j"  # as long as before
    keys.file.write_text(json.dumps(records, indent=2) + "\n")
    time.advance(1)
    found = ring.find(keys.key("k").encode())
    assert found is not None
    assert found.id == "j"


@pytest.mark.parametrize("damage", ["[{", "", None])
def test_a_damaged_file_leaves_the_keys_as_they_were(
    keys: KeyHolder, damage: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    time = FakeTime()
    ring = KeyRing(keys.file, time.clocks)
    good = keys.file.read_text()
    if damage is None:
        keys.file.unlink()
    else:
        keys.file.write_text(damage)
    for _ in range(3):
        time.advance(1)
        assert ring.find(keys.key("k").encode()) is not None
    errors = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert len(errors) == 1  # once per state of the file
    assert str(keys.file) in vars(errors[0])["reason"]
    assert not ring.is_readable()
    keys.file.write_text("{")
    for _ in range(3):
        time.advance(1)
        assert not ring.is_readable()
    assert len([entry for entry in caplog.records if entry.levelno == logging.ERROR]) == 2
    keys.file.write_text(good.replace('"k"', '"repaired"'))
    time.advance(1)
    found = ring.find(keys.key("k").encode())
    assert found is not None
    assert found.id == "repaired"


def test_a_file_that_could_not_be_opened_is_tried_again(keys: KeyHolder, caplog: pytest.LogCaptureFixture) -> None:
    time = FakeTime()
    ring = KeyRing(keys.file, time.clocks)
    revoke_key(keys.file, "k")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # like a process with too many open files
    try:
        for _ in range(3):
            time.advance(1)
            assert not ring.is_readable()
        assert ring.find(keys.key("k").encode()) is not None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    time.advance(1)
    assert ring.find(keys.key("k").encode()) is None
    assert ring.is_readable()
    reasons = [vars(entry)["reason"] for entry in caplog.records if entry.levelno == logging.ERROR]
    assert reasons == [f"{keys.file}: Too many open files"]


async def test_a_damaged_file_shows_in_the_metrics(
    start: Start, keys: KeyHolder, caplog: pytest.LogCaptureFixture
) -> None:
    time = FakeTime()
    async with start(api_keys_file=keys.file, clocks=time.clocks) as replica:
        assert replica.sample("keys_file_readable") == 1
        good = keys.file.read_text()
        keys.file.write_text("[{")
        for _ in range(3):  # without any request with a key
            time.advance(1)
            assert "uq4ct_keys_file_readable 0.0" in (await replica.client.get("/metrics")).text
        assert (await ask(replica, **keys.header("k"))).status_code == 200
        assert len([entry for entry in caplog.records if entry.levelno == logging.ERROR]) == 1
        keys.file.write_text(good)
        time.advance(1)
        assert "uq4ct_keys_file_readable 1.0" in (await replica.client.get("/metrics")).text
    async with start() as replica:
        assert "keys_file" not in (await replica.client.get("/metrics")).text


def test_the_file_is_checked_at_most_once_per_second(keys: KeyHolder, monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeTime()
    ring = KeyRing(keys.file, time.clocks)
    looks = 0
    stat = Path.stat

    def counted(path: Path, **options: Any) -> Any:
        nonlocal looks
        looks += path == keys.file
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", counted)
    for _ in range(30):
        ring.find(b"x")
        time.advance(0.1)
    assert looks == 2


@pytest.mark.parametrize("key_id", ["k", "second", "third", None])
def test_the_comparison_touches_every_key(keys: KeyHolder, key_id: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.new("predict", key_id="second")
    keys.new("predict", key_id="third")
    ring = KeyRing(keys.file, FakeTime().clocks)
    compare, compared = hmac.compare_digest, []

    def recorded(one: Any, other: Any) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    found = ring.find(keys.key(key_id or "unknown").encode())
    assert (found and found.id) == key_id
    assert compared == [entry["sha256"] for entry in json.loads(keys.file.read_text())]


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_can_use_is_logged_as_a_warning(
    keys: KeyHolder, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[logging.LogRecord]:
        return [entry for entry in caplog.records if entry.levelno == logging.WARNING]

    KeyRing(keys.file, FakeTime().clocks)
    assert warnings() == []
    keys.file.chmod(mode)
    KeyRing(keys.file, FakeTime().clocks)
    (warning,) = warnings()
    assert vars(warning)["path"] == str(keys.file)


def _app(adapters: Registry, predictor: FakePredictor, **fields: Any) -> FastAPI:
    ids = TimeOrderedIds(lambda: 0.0, lambda bits: 0)
    settings = Settings(**{"default_model": "toy", **fields})
    return create_app(lambda: FakeHost(predictor), adapters, settings, CollectorRegistry(), ids)


def _bare(path: str = "/new", **options: Any) -> APIRouter:
    router = APIRouter()

    @router.api_route(path, **options)
    async def route() -> None: ...

    return router


@pytest.mark.parametrize(
    ("router", "refused"),
    [
        (_bare(), True),
        (_bare("/metrics"), False),
        (_bare("/metrics", methods=["POST"]), True),
        (_bare("/openapi.json"), True),
        (_bare(dependencies=[Depends(require(Scope.ADMIN))]), False),
    ],
)
def test_a_route_without_a_scope_is_refused(router: APIRouter, refused: bool) -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    if refused:
        with pytest.raises(UnguardedRouteError):
            refuse_unguarded_routes(app, PUBLIC_PATHS)
    else:
        refuse_unguarded_routes(app, PUBLIC_PATHS)


def test_whatever_is_no_route_of_fastapi_is_refused_too() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/files", PlainTextResponse("x"))
    with pytest.raises(UnguardedRouteError, match="/files"):
        refuse_unguarded_routes(app, PUBLIC_PATHS)


def test_the_app_itself_is_refused(
    adapters: Registry, predictor: FakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uq4ct.service.app.all_routes", lambda _: (*all_routes(True), *_bare("/forgotten").routes))
    with pytest.raises(UnguardedRouteError, match="/forgotten"):
        _app(adapters, predictor)


async def test_openapi_shows_which_routes_need_a_key(start: Start) -> None:
    async with start() as replica:
        document = (await replica.client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_public = path in PUBLIC_PATHS
            assert operation["security"] == ([] if is_public else [{"key": []}])
            assert ({"401", "403"} <= set(operation["responses"])) is not is_public
            if not is_public:
                assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]


async def test_every_answer_has_the_security_headers(start: Start, keys: KeyHolder) -> None:
    async with start(api_keys_file=keys.file) as replica:
        answers = [
            await ask(replica, **keys.header("k")),
            await ask(replica),
            await replica.client.get("/nowhere"),
            await replica.client.get("/metrics"),
        ]
        replica.context.adapters = None  # type: ignore[assignment]  # an unexpected fault
        answers.append(await replica.client.get("/models", headers=keys.header("k")))
    assert [answer.status_code for answer in answers] == [200, 401, 404, 200, 500]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


async def test_no_key_and_no_server_name_leaves_a_real_server(
    adapters: Registry, predictor: FakePredictor, keys: KeyHolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.handler.setFormatter(JsonFormatter())
    database = f"sqlite:///{keys.file.parent}/ledger.sqlite3"
    options = Settings(
        port=free_port(),
        api_keys_file=keys.file,
        shutdown_grace_seconds=0,
        database_url=database,
        default_model="toy",
    )
    app = _app(adapters, predictor, **options.model_dump())
    server = asyncio.create_task(serve(app, options))
    held = [keys.key("k"), "uq4ct_wrong-key", *(entry["sha256"] for entry in json.loads(keys.file.read_text()))]
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{options.port}", timeout=20) as client:
        await until_ready(client)
        answers = [
            await client.post("/predict", json=QUESTION, headers=keys.header("k")),
            await client.post("/predict", json=QUESTION, headers={"authorization": f"Bearer {held[1]}"}),
            await client.post("/predict", content=b" " * 1_900_000, headers={"authorization": f"Bearer {held[1]}"}),
            await client.post("/predict", content=b"{", headers=keys.header("k")),
            await client.get("/models/x/y", headers=keys.header("k")),
        ]
    await app.state.context.engine.drain()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(server, 10)
    assert [answer.status_code for answer in answers] == [200, 401, 401, 415, 404]
    shown = caplog.text + "".join(answer.text + str(answer.headers) for answer in answers)
    assert not [secret for secret in held if secret in shown]
    assert all("server" not in answer.headers for answer in answers)
    requests = [
        vars(entry) for entry in caplog.records if entry.msg == "request" and vars(entry)["route"] == "/predict"
    ]
    assert [(entry["key_id"], entry["tenant"], entry["code"]) for entry in requests] == [
        ("k", "acme", 200),
        (None, None, 401),
        (None, None, 401),
        ("k", "acme", 415),
    ]


async def test_the_log_line_says_who_was_refused_a_scope(
    start: Start, keys: KeyHolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    headers = keys.new("feedback", key_id="labeller", tenant="other")
    async with start(api_keys_file=keys.file) as replica:
        await ask(replica, **headers)
    (entry,) = (vars(entry) for entry in caplog.records if entry.msg == "request")
    assert (entry["key_id"], entry["tenant"], entry["code"]) == ("labeller", "other", 403)
