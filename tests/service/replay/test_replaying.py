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
from uq4ct.model_store.question_files import QuestionFileError, read_questions
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.export import export_lines
from uq4ct.service.replay.replaying import STEP, Replay
from uq4ct.service.replay.running import read_answered, summary
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


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            '{"id": "1", "question": "?", "options": ["a", "b"]}',
            "week.jsonl: 1 questions have no answer, the first is '1'",
        ),
        (
            '{"id": "1", "question": "?", "options": ["a"], "answer": 0}',
            "line 1: options: must have between 2 and 26 entries, not 1",
        ),
        ("[]", "line 1: must be a JSON object, not list"),
        ("{", "line 1: invalid JSON"),
        ("", "week.jsonl: contains no questions"),
    ],
)
def test_a_question_without_an_answer_and_a_broken_line_are_named(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "week.jsonl"
    file.write_text(line, encoding="utf-8")
    with pytest.raises(QuestionFileError, match=complaint):
        read_answered(file)


def test_a_file_that_training_reads_can_be_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a byte order mark, blank lines, carriage returns and a question with a repeated option."""
    records = [QUESTIONS[0].to_record(), QUESTIONS[1].to_record() | {"options": ["a", "a "], "subject": "Größe"}]
    lines = "\r\n\r\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    file = tmp_path / "week.jsonl"
    file.write_bytes(f"\ufeff{lines}\r\n\r\n".encode())
    assert read_answered(file) == read_questions(file).questions == (QUESTIONS[0],)
    assert "1 of 2 questions left out of" in capsys.readouterr().err


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
