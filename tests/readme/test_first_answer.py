"""The section "Two commands": what `make serve` serves answers as the README shows."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.readme.curl import HAS_CURL, WRITTEN_ADDRESS, send, send_without_curl
from tests.readme.examples import ANSWER, PREDICT
from tests.readme.terminal import Terminal
from uq4ct.service.schemas.predict import PredictResponse


def test_the_question_of_the_readme_is_answered(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    answer = PredictResponse.model_validate(send(terminal, PREDICT, address))
    assert answer.model == "quickstart@1"
    assert [item.label for item in answer.probabilities] == ["A", "B", "C", "D"]


def test_the_answer_of_the_readme_belongs_to_its_question() -> None:
    PredictResponse.model_validate_json(ANSWER)
    answer = json.loads(ANSWER)
    words = shlex.split(PREDICT)
    options = json.loads(words[words.index("-d") + 1])["options"]
    assert answer["option"]["text"] == options[answer["option"]["index"]] == "Paris"
    probabilities = [item["probability"] for item in answer["probabilities"]]
    assert len(probabilities) == len(options)
    assert sum(probabilities) == pytest.approx(1)
    assert answer["confidence"] == max(probabilities)
    assert list(answer) == list(PredictResponse.model_fields)


@pytest.mark.skipif(not HAS_CURL, reason="curl is not installed: the README's curl lines were sent by httpx2 instead")
def test_httpx_sends_what_curl_sends(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    by_curl, by_httpx = (
        PredictResponse.model_validate(answer)
        for answer in (
            send(terminal, PREDICT, address),
            send_without_curl(PREDICT.replace(WRITTEN_ADDRESS, address)),
        )
    )
    assert by_httpx.prediction_id != by_curl.prediction_id
    assert by_httpx.model_copy(update={"prediction_id": by_curl.prediction_id}) == by_curl
