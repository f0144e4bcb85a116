"""Read the questions of a replay, run it with a progress bar, and sum it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.question_files import QuestionFileError, describe_left_out, read_questions
from uq4ct.model_store.questions import Question
from uq4ct.service.client.async_client import AsyncClient
from uq4ct.service.client.errors import ClientError
from uq4ct.service.replay.replaying import Outcome, Replay
from uq4ct.service.replay.week import DAY, Week, plan_week


class ReplayError(UserError):
    """The service is unreachable or rejects the requests; the message says why."""


def run_replay(
    week: Week, questions: Path, shifted: Path | None, url: str, key: str | None, model: str | None, seconds: float
) -> Outcome:
    """Ask the service at `url` a week of questions from files within `seconds`; `shifted` are those after the shift.

    Raises:
        QuestionFileError: a file cannot be used; see `read_answered`.
        ReplayError: the service is unreachable or rejects the requests.
    """
    usual, other = read_answered(questions), () if shifted is None else read_answered(shifted)
    try:
        return asyncio.run(_replay(week, usual, other, AsyncClient(url, api_key=key), model, seconds))
    except ClientError as error:
        raise ReplayError(str(error)) from error


def read_answered(path: Path) -> tuple[Question, ...]:
    """Read the questions of a file, each with its answer; those with a repeated option are left out with a message.

    Raises:
        QuestionFileError: the file cannot be read, a line is not a question, or a question has no answer.
    """
    found = read_questions(path)
    for message in describe_left_out(str(path), found.left_out, len(found.questions) + len(found.left_out)):
        typer.echo(message, err=True)
    unlabelled = [question.id for question in found.questions if question.answer is None]
    if unlabelled:
        raise QuestionFileError(f"{path}: {len(unlabelled)} questions have no answer, the first is {unlabelled[0]!r}")
    if not found.questions:
        raise QuestionFileError(f"{path}: contains no questions")
    return tuple(found.questions)


def summary(outcome: Outcome) -> str:
    """Return the outcome of the week in one line."""
    share = f"{outcome.correct / outcome.answered:.3f} right" if outcome.answered else "none right"
    refused = "".join(f", {count} failed ({title})" for title, count in sorted(outcome.problems.items()))
    return f"{outcome.answered} answered ({share}, {outcome.abstained} abstained), {outcome.labelled} labelled{refused}"


async def _replay(
    week: Week,
    usual: tuple[Question, ...],
    shifted: tuple[Question, ...],
    client: AsyncClient,
    model: str | None,
    seconds: float,
) -> Outcome:
    columns = (TextColumn("day {task.completed:.1f} of {task.total:.0f}"), BarColumn(), TimeRemainingColumn())
    async with client:
        with Progress(*columns) as progress:
            days = progress.add_task("", total=week.days)
            replaying = Replay(client, model, _pace(week.days * DAY / seconds))
            return await replaying.run(
                plan_week(week, usual, shifted), lambda passed: progress.update(days, advance=passed / DAY)
            )


def _pace(speed: float) -> Callable[[float], Awaitable[None]]:
    """Return a function that waits until the given second of the week, at `speed` seconds per real second."""
    start = time.monotonic()

    async def wait_until(passed: float) -> None:
        await asyncio.sleep(max(0.0, start + passed / speed - time.monotonic()))

    return wait_until
