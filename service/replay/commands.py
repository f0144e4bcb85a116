"""uq4ct replay: send a week of questions to a running service in minutes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from uq4ct.model_store.environment import variable_name
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.question_files import QuestionFileError, describe_left_out, read_questions
from uq4ct.model_store.questions import Question
from uq4ct.service.client.client import AsyncClient
from uq4ct.service.client.errors import ClientError
from uq4ct.service.replay.replaying import Outcome, Replay
from uq4ct.service.replay.week import DAY, Week, plan_week

_USUAL = Week()

File = Annotated[Path, typer.Argument(help="JSON lines file of questions with answers, in the format of `training`")]


class ReplayError(UserError):
    """The service is unreachable or rejects the requests; the message says why."""


def replay(  # noqa: PLR0913, PLR0917  # one per flag
    questions: File,
    shifted: Annotated[Path | None, typer.Option(help="questions of another kind, sent from the shift day on")] = None,
    url: Annotated[str, typer.Option(help="address of the service")] = "http://127.0.0.1:8000",
    key: Annotated[
        str | None, typer.Option(envvar=variable_name("KEY"), help="API key with the scopes predict and feedback")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="name or name@version; default: the service's default model")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="duration of the replay in minutes")] = 10.0,
    asked: Annotated[int, typer.Option(min=1, help="number of questions in the week")] = _USUAL.questions,
    shift_day: Annotated[
        float, typer.Option(min=0, max=_USUAL.days, help="day on which the shift starts")
    ] = _USUAL.shift_day,
    label_share: Annotated[
        float, typer.Option(min=0, max=1, help="share of answers that get a label")
    ] = _USUAL.label_share,
    seed: Annotated[int, typer.Option(help="random seed of the times, the order and the delays")] = 0,
) -> None:
    """Ask a running service a week of questions in minutes, with late and partly missing labels.

    Predictions and labels are real and stay in the ledger: use a test service. Dashboards look back 24 hours of real
    time.
    """
    week = Week(questions=asked, shift_day=shift_day, label_share=label_share, seed=seed)
    usual, other = read_answered(questions), () if shifted is None else read_answered(shifted)
    try:
        outcome = asyncio.run(_replay(week, usual, other, AsyncClient(url, api_key=key), model, minutes * 60))
    except ClientError as error:
        raise ReplayError(str(error)) from error
    typer.echo(summary(outcome))


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
