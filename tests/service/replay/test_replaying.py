"""Replay a week through the real app in simulated time: the ledger contains what was planned, at the planned times."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.benchmarks.simulated_week import simulated_service
from tests.command_line import uq4ct
from tests.service.access.fake_clocks import FakeTime
from tests.service.fake_predictor import FakeHost
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.export import export_lines
from uq4ct.service.replay.commands import UnusableQuestionsError, read_answered, summary
from uq4ct.service.replay.replaying import STEP, Replay
from uq4ct.service.replay.week import DAY, Week, plan_week
from uq4ct.service.settings import Settings

QUESTIONS = tuple(
    Question(f"q{n}", f"Which is right, number {n}?", ("this", "that", "neither"), answer=n % 3, subject="quiz")
    for n in range(20)
)
TOO_LONG = Question("long", "word " * 100, ("this", "that"), answer=0)


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_ledger_holds_the_week_as_it_was_planned(
    adapters: Registry, host: FakeHost, empty_ledger: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{shutil.copy(empty_ledger, tmp_path)}"
    begin = 1_800_000_000.0
    simulated = FakeTime(begin)
    settings = Settings(default_model="toy", database_url=url, tasks=("quiz",))
    plan = list(plan_week(Week(questions=300, label_share=0.6), QUESTIONS, (TOO_LONG,)))
    days = []
    async with simulated_service(host.load, adapters, settings, simulated, CollectorRegistry()) as client:
        outcome = await Replay(client, "toy", simulated.wait_until).run(plan, days.append)
    usual = [one for one in plan if one.question is not TOO_LONG]
    labelled = [one for one in usual if one.label_at is not None]
    assert sum(days) == pytest.approx(plan[-1].at, abs=STEP)
    assert (outcome.answered, outcome.labelled) == (len(usual), len(labelled))
    assert dict(outcome.problems) == {"The question is longer than the model's window": 300 - len(usual)}
    assert summary(outcome).endswith(
        f"labelled, {300 - len(usual)} failed (The question is longer than the model's window)"
    )

    database = Database(url)
    records = [json.loads(line) for line in export_lines(database)]
    database.close()
    assert len(records) == len(usual)
    for record, one in zip(records, usual, strict=True):
        assert 0 <= record["created_ms"] / 1000 - begin - one.at <= STEP + 1
        assert record["task"] == "quiz"
        assert (record["label"] is None) == (one.label_at is None)
        if one.label_at is not None:
            assert record["label"]["answer"] == one.question.answer
            assert 0 <= record["label"]["labelled_ms"] / 1000 - begin - one.label_at <= STEP + 1
    assert max(record["created_ms"] for record in records) / 1000 - begin > 4 * DAY


def test_a_question_without_an_answer_and_a_broken_line_are_named(tmp_path: Path) -> None:
    file = tmp_path / "week.jsonl"
    for line, complaint in (
        ('{"id": "1", "question": "?", "options": ["a", "b"]}', "line 1: answer is missing"),
        (
            '{"id": "1", "question": "?", "options": ["a"], "answer": 0}',
            "line 1: options: must have between 2 and 26 entries, not 1",
        ),
        ("[]", "line 1"),
        ("{", "line 1: "),
        ("", "contains no questions"),
    ):
        file.write_text(line)
        with pytest.raises(UnusableQuestionsError, match=complaint):
            read_answered(file)


@pytest.mark.slow
def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "week.jsonl"
    file.write_text(json.dumps(QUESTIONS[0].to_record()))
    missing = uq4ct(["replay", str(tmp_path / "nowhere.jsonl")])
    assert missing.exit_code == 1
    assert "nowhere.jsonl" in missing.output
    unreachable = uq4ct(["replay", str(file), "--url", "http://127.0.0.1:9", "--minutes", "0.01"])
    assert unreachable.exit_code == 1
    assert unreachable.output.splitlines()[-1].startswith("error: ")
