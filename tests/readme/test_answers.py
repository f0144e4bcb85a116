"""The service's responses to the requests in the READMEs: answers, problems and tensors; and its routes."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import httpx2
import pytest

from tests.readme.curl import HAS_CURL, WRITTEN_ADDRESS, send, send_without_curl
from tests.readme.examples.root import ANSWER as SHORT_ANSWER
from tests.readme.examples.root import PREDICT
from tests.readme.examples.service import ANSWER, INFER, PROBLEM, REFUSED
from tests.readme.examples.service import PREDICT as PREDICT_OR_ABSTAIN
from tests.readme.pages import SERVICE_PAGE
from tests.readme.terminal import Terminal
from uq4ct.service.schemas.predict import PredictResponse

every_question = pytest.mark.parametrize("command", [PREDICT, PREDICT_OR_ABSTAIN])


def _body(command: str) -> dict[str, Any]:
    words = shlex.split(command)
    return json.loads(words[words.index("-d") + 1])


@every_question
def test_the_question_of_the_readme_is_answered(open_service: tuple[Terminal, str], command: str) -> None:
    terminal, address = open_service
    answer = PredictResponse.model_validate(send(terminal, command, address))
    assert answer.model == "quickstart@1"
    assert [item.label for item in answer.probabilities] == ["A", "B", "C", "D"]


def test_the_answer_of_the_readme_belongs_to_its_question() -> None:
    PredictResponse.model_validate_json(ANSWER)
    answer, asked = json.loads(ANSWER), _body(PREDICT_OR_ABSTAIN)
    assert answer["option"]["text"] == asked["options"][answer["option"]["index"]] == "Paris"
    assert answer["threshold"] == asked["abstain_below"]
    probabilities = [item["probability"] for item in answer["probabilities"]]
    assert len(probabilities) == len(asked["options"])
    assert sum(probabilities) == pytest.approx(1)
    assert answer["confidence"] == max(probabilities)
    assert list(answer) == list(PredictResponse.model_fields)


def test_the_short_answer_is_a_part_of_the_whole_one_to_the_same_question() -> None:
    whole, short = json.loads(ANSWER), json.loads(SHORT_ANSWER)
    assert short == {name: whole[name] for name in short}
    asked = {name: value for name, value in _body(PREDICT_OR_ABSTAIN).items() if name != "abstain_below"}
    assert _body(PREDICT) == asked


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


def test_a_refused_question_gets_the_problem_of_the_readme(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    written = json.loads(PROBLEM)
    problem = send(terminal, REFUSED, address)
    assert len(problem.pop("request_id")) == len(written.pop("request_id"))
    assert problem == written


def test_the_tensors_of_the_readme_are_answered(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    outputs = {one["name"]: one["data"] for one in send(terminal, INFER, address)["outputs"]}
    assert outputs["label"] == ["AB"[outputs["option"][0]]]
    assert 0.5 <= outputs["confidence"][0] <= 1


def test_the_table_of_routes_is_what_the_service_declares(open_service: tuple[Terminal, str]) -> None:
    _, address = open_service
    paths = httpx2.get(f"http://{address}/openapi.json").json()["paths"]
    declared = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    rows = SERVICE_PAGE.table("route", "what it does")
    assert {route for cell, _ in rows for route in re.findall(r"`([^`]+)`", cell)} == {
        route for route in declared if " /v2" not in route
    }
