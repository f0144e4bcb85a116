from __future__ import annotations

import io
import json
import logging
import time

import pytest

from tests.service.conftest import Start
from uq4ct.service.telemetry.logs import JsonFormatter, JsonHandler


def formatted(record: logging.LogRecord) -> dict[str, object]:
    return json.loads(JsonFormatter().format(record))


def test_a_record_is_one_json_object_with_its_extras() -> None:
    record = logging.makeLogRecord(
        {"msg": "line %s", "args": ("one\ntwo",), "name": "x", "levelname": "INFO", "code": 3}
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["message"], entry["level"], entry["code"]) == ("line one\ntwo", "info", 3)


def test_an_exception_is_its_type_and_frames_without_its_message() -> None:
    try:
        raise KeyError("the text of a question")
    except KeyError as error:
        trace = error.__traceback__
        record = logging.makeLogRecord({"msg": "failed", "exc_info": (KeyError, error, trace)})
    entry = formatted(record)
    assert entry["error"] == "KeyError"
    assert "test_an_exception" in str(entry["frames"])
    assert "the text" not in json.dumps(entry)


class _Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def _entries(stream: io.StringIO) -> list[tuple[object, object]]:
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [(entry["message"], entry.get("repeated")) for entry in entries]


def _record(message: str, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "name": "x", "levelname": "ERROR", **extra})


def test_a_repeated_line_is_written_once_a_second_with_its_count() -> None:
    stream, clock = io.StringIO(), _Clock()
    handler = JsonHandler(stream, clock)
    for _ in range(1_000):
        handler.handle(_record("accept failed"))
    handler.handle(_record("request", request_id="1"))
    handler.handle(_record("request", request_id="2"))
    assert _entries(stream) == [("accept failed", None), ("request", None), ("request", None)]
    clock.seconds += 1.0
    for _ in range(10):
        handler.handle(_record("accept failed"))
    assert _entries(stream)[3:] == [("accept failed", 999)]
    handler.close()
    assert _entries(stream)[4:] == [("accept failed", 10)]


def test_the_count_is_written_although_no_other_line_comes() -> None:
    stream, clock = io.StringIO(), _Clock()
    handler = JsonHandler(stream, clock)
    handler.handle(_record("accept failed"))
    handler.handle(_record("accept failed"))
    clock.seconds += 1.0
    give_up = time.monotonic() + 5
    while len(_entries(stream)) < 2 and time.monotonic() < give_up:
        time.sleep(0.02)
    assert _entries(stream) == [("accept failed", None), ("accept failed", 1)]
    handler.close()


@pytest.mark.anyio
async def test_a_request_leaves_its_id_and_not_its_text(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with start() as replica:
        await replica.ask("private words", ("private one", "private two"), context="private passage")
        await replica.ask("private words", ("private one",))
        await replica.ask("break the tokenizer")
    records = [formatted(record) for record in caplog.records if record.name.startswith("uq4ct.service")]
    requests = [record for record in records if record["message"] == "request"]
    assert [(record["route"], record["code"]) for record in requests] == [
        ("/predict", 200),
        ("/predict", 422),
        ("/predict", 500),
    ]
    assert all(record["request_id"] for record in requests)
    assert "private" not in json.dumps(records)
    assert "secret text" not in json.dumps(records)
