"""The Typer application of training's verbs; each is a function in `commands/`.

A command imports what it runs when it runs, so that help does not wait for torch.
"""

from __future__ import annotations

import typer

from uq4ct.training.commands.adopt import adopt, export
from uq4ct.training.commands.check_base import check_base
from uq4ct.training.commands.demo import demo
from uq4ct.training.commands.evaluate import compare, evaluate
from uq4ct.training.commands.plan import plan
from uq4ct.training.commands.prepare import fetch, new_recipe, questions
from uq4ct.training.commands.publish import publish
from uq4ct.training.commands.study import study, study_report
from uq4ct.training.commands.train import train

app = typer.Typer(
    help="Train, evaluate and publish calibrated adapters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS = (
    new_recipe,
    fetch,
    check_base,
    questions,
    plan,
    train,
    evaluate,
    compare,
    publish,
    adopt,
    export,
    demo,
    study,
    study_report,
)
for command in COMMANDS:
    app.command()(command)  # the verb is the function's name with hyphens
