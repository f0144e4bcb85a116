"""Each request is a span in the caller's trace, without any text of the question."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.command_line import uq4ct
from tests.service.conftest import Start
from uq4ct.service.settings import SettingsError
from uq4ct.service.telemetry.tracing import exported_traces

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"  # from the W3C recommendation's examples


class Spans:
    """A provider that keeps the finished spans."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._kept.get_finished_spans()

    def only(self) -> ReadableSpan:
        (span,) = self.all()
        return span


@pytest.mark.anyio
async def test_a_request_is_a_span_in_the_callers_trace(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    spans = Spans()
    async with start(tracer_provider=spans.provider) as replica:
        replica.client.headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
        assert (await replica.ask()).status_code == 200
    span = spans.only()
    assert (span.name, span.kind) == ("POST /predict", SpanKind.SERVER)
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == f"{TRACE}-{PARENT}"
    attributes = dict(span.attributes or {})
    assert attributes["http.route"] == "/predict"
    assert attributes["http.response.status_code"] == 200
    assert attributes["uq4ct.models"] == ("toy@1",)
    (line,) = (vars(entry) for entry in caplog.records if entry.msg == "request")
    assert line["trace_id"] == TRACE


@pytest.mark.anyio
@pytest.mark.parametrize("given", [None, "nonsense", "00-" + "0" * 32 + "-" + PARENT + "-01", "é"])
async def test_without_a_callers_trace_it_begins_its_own(
    start: Start, given: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spans = Spans()
    headers = [] if given is None else [(b"traceparent", given.encode("latin-1"))]
    async with start(tracer_provider=spans.provider) as replica:
        request = replica.client.build_request("GET", "/models/toy", headers=headers)
        assert (await replica.client.send(request)).status_code == 200
    span = spans.only()
    assert span.parent is None
    assert span.name == "GET /models/{name}"
    (line,) = (vars(entry) for entry in caplog.records if entry.msg == "request")
    assert span.context is not None
    assert int(line["trace_id"], 16) == span.context.trace_id


@pytest.mark.anyio
async def test_a_failure_is_marked_and_quotes_nothing(start: Start) -> None:
    spans = Spans()
    async with start(tracer_provider=spans.provider) as replica:
        assert (await replica.ask("break the tokenizer")).status_code == 500
        assert (await replica.ask("private words", ("one",))).status_code == 422
        replica.context.adapters = None  # type: ignore[assignment]  # causes an unforeseen error
        assert (await replica.client.get("/models")).status_code == 500
    assert [span.status.status_code for span in spans.all()] == [StatusCode.ERROR, StatusCode.UNSET, StatusCode.ERROR]
    for span in spans.all():
        exported = json.dumps([span.to_json(), [dict(event.attributes or {}) for event in span.events]])
        assert not [text for text in ("secret text", "tokenizer", "private", "list'") if text in exported]


@pytest.mark.anyio
@pytest.mark.parametrize("prefix", ["", "/uq"])
async def test_probes_are_no_spans(start: Start, prefix: str) -> None:
    spans = Spans()
    async with start(tracer_provider=spans.provider, root_path=prefix) as replica:
        transport = httpx2.ASGITransport(replica.app, root_path=prefix)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://localhost{prefix}") as client:
            for path in ("/health/live", "/health/ready", "/metrics"):
                assert (await client.get(path)).status_code == 200
    assert spans.all() == ()


@pytest.mark.anyio
async def test_without_an_endpoint_there_is_no_trace(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with start() as replica:
        replica.client.headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
        assert (await replica.ask()).status_code == 200
    assert [vars(entry).get("trace_id") for entry in caplog.records if entry.msg == "request"] == [None]
    with exported_traces(None) as provider:
        assert provider is None


@contextmanager
def collector(received: list[tuple[str, bytes]]) -> Iterator[str]:
    """Run a server that accepts any POST; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is given by the base class
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("ending", ["", "/", "/v1/traces"])
@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])  # where nothing listens
def test_spans_reach_the_collector_at_the_end_at_latest(
    ending: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    received: list[tuple[str, bytes]] = []
    with collector(received) as url:
        with exported_traces(url + ending) as provider:
            assert provider is not None
            with provider.get_tracer("test").start_as_current_span("one span"):
                pass
        ((path, body),) = received
    assert path == "/v1/traces"
    assert b"one span" in body
    assert b"uq4ct" in body


def test_an_endpoint_without_the_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"OTLP_ENDPOINT: .*uq4ct\[otel\]"), exported_traces("http://localhost:1"):
        pass


def test_the_endpoint_is_a_url() -> None:
    refused = uq4ct(["serve", "--otlp-endpoint", "localhost:4318"])
    assert refused.exit_code == 1
    assert "OTLP_ENDPOINT" in refused.output
