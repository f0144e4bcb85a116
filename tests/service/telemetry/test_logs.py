from __future__ import annotations

import json
import logging

import pytest

from tests.service.conftest import Start
from uq4ct.service.telemetry.logs import JsonFormatter


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
