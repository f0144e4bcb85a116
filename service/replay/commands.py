"""uq4ct replay: send a week of questions to a running service in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uq4ct.model_store.environment import variable_name
from uq4ct.service.replay.week import Week

_USUAL = Week()

File = Annotated[Path, typer.Argument(help="JSON lines file of questions with answers, in the format of `training`")]


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
    from uq4ct.service.replay.running import run_replay, summary

    week = Week(questions=asked, shift_day=shift_day, label_share=label_share, seed=seed)
    typer.echo(summary(run_replay(week, questions, shifted, url, key, model, minutes * 60)))
