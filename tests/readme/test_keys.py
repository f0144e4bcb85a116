"""The section "Keys" from start to end: make a key, ask, send a label, read the calibration, revoke the key."""

from __future__ import annotations

import time

import pytest

from tests.readme.curl import WITH_KEY, count_labels, send
from tests.readme.examples.root import PREDICT
from tests.readme.examples.service import (
    CALIBRATION,
    FEEDBACK,
    LIST_KEYS,
    MODELS,
    NEW_KEY,
    REVOKE_KEY,
    SERVE_WITH_KEYS,
)
from tests.readme.terminal import Terminal
from uq4ct.service.schemas.predict import PredictResponse


@pytest.mark.slow
def test_keys_open_the_service_and_revoked_ones_do_not(stocked: Terminal) -> None:
    key = stocked.run(NEW_KEY).strip()
    with stocked.serve(SERVE_WITH_KEYS) as address:
        assert send(stocked, PREDICT, address)["status"] == 401
        assert [card["name"] for card in send(stocked, MODELS, address, KEY=key)["models"]] == ["quickstart"] * 2
        answer = PredictResponse.model_validate(send(stocked, PREDICT + WITH_KEY, address, KEY=key))
        label = FEEDBACK.replace('"..."', f'"{answer.prediction_id}"') + WITH_KEY
        assert send(stocked, label, address, KEY=key)["result"] == "accepted"
        assert count_labels(send(stocked, CALIBRATION + WITH_KEY, address, KEY=key)) == 1
        (row,) = stocked.run(LIST_KEYS).splitlines()
        key_id, tenant, scopes, _ = row.split("\t")
        assert (tenant, scopes) == ("acme", "predict,feedback")
        stocked.run(REVOKE_KEY.replace("ID", key_id))
        assert stocked.run(LIST_KEYS) == ""
        _wait_until_refused(stocked, address, key)


def _wait_until_refused(terminal: Terminal, address: str, key: str) -> None:
    deadline = time.monotonic() + 10
    while "models" in (body := send(terminal, MODELS, address, KEY=key)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert body["status"] == 401
