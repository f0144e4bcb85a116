"""uq4ct serve | check | promote | replay | calibration-report | keys | ledger.

Settings are environment variables, or flags of `serve` and `check`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import os
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from uq4ct.model_store.environment import variable_name
from uq4ct.model_store.storage.registry import PRODUCTION, Registry
from uq4ct.service.access.commands import cli as key_commands
from uq4ct.service.access.keys import read_keys
from uq4ct.service.app import create_app
from uq4ct.service.ending import ending_despite_hangs
from uq4ct.service.engine.predictor import check_answer
from uq4ct.service.engine.worker import WARM_UP
from uq4ct.service.ledger.commands import ledger
from uq4ct.service.loading import choose_reference, choose_threads, load_host, load_host_for_good
from uq4ct.service.replay.commands import replay
from uq4ct.service.reports.command import calibration_report
from uq4ct.service.server import serve as serve_app
from uq4ct.service.settings import Settings, read_settings
from uq4ct.service.telemetry.logs import log_to_stderr
from uq4ct.service.telemetry.request_ids import TimeOrderedIds
from uq4ct.service.telemetry.tracing import exported_traces

cli = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def serve(settings: Settings) -> None:
    """Answer questions over HTTP until SIGTERM."""
    log_to_stderr(settings.log_level)
    disable_created_metrics()  # they add one series per counter that nothing reads
    adapters = Registry(settings.model_store_dir)
    load = partial(load_host_for_good, settings, adapters, choose_reference(settings, adapters))
    ids = TimeOrderedIds(time.time, secrets.randbits)
    metrics = CollectorRegistry()
    ProcessCollector(registry=metrics)
    with exported_traces(settings.otlp_endpoint) as provider:
        threads = choose_threads(settings)
        app = create_app(load, adapters, settings, metrics, ids, threads=threads, tracer_provider=provider)
        with ending_despite_hangs():
            asyncio.run(serve_app(app, settings))


def check(settings: Settings) -> None:
    """Read the keys, load the model, answer one question, print the answer and exit."""
    log_to_stderr(settings.log_level)
    if settings.api_keys_file is not None:
        read_keys(settings.api_keys_file)
    adapters = Registry(settings.model_store_dir)
    reference = choose_reference(settings, adapters)
    predictor = load_host(settings, adapters, reference).add(adapters.load(reference))
    (answer,) = predictor.answer([predictor.encode(WARM_UP)])
    check_answer(answer, len(WARM_UP.options))
    shown = {"model": predictor.manifest.reference, "question": WARM_UP.text, "options": WARM_UP.options}
    typer.echo(json.dumps(shown | dataclasses.asdict(answer)))


def _command(run: Callable[[Settings], None]) -> Callable[..., None]:
    """Return a command with one flag per field of `Settings`; typer reads its variable and shows it in the help."""

    def command(**flags: str | None) -> None:
        run(read_settings(os.environ, {name: value for name, value in flags.items() if value is not None}))

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_flag(name))
        for name in Settings.model_fields
    ]
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    setattr(command, "__signature__", inspect.Signature(parameters))  # noqa: B010  # unknown to type checkers
    return command


def _flag(name: str) -> object:
    field = Settings.model_fields[name]
    default = "unset" if field.default is None else str(field.default)
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        envvar=variable_name(name.upper()),
        metavar="VALUE",
        help=f"{field.description} (default: {default})",
    )
    return Annotated[str | None, option]


@cli.command()
def promote(
    name: Annotated[str, typer.Argument(help="a registered name")],
    version: Annotated[int, typer.Argument(help="the version to point the alias to; an older one rolls back")],
    alias: Annotated[str, typer.Option(help="the alias; a bare name uses production")] = PRODUCTION,
    model_store_dir: Annotated[
        Path, typer.Option(envvar=variable_name("MODEL_STORE_DIR"), help="folder of the registered adapters")
    ] = Settings.model_fields["model_store_dir"].default,
) -> None:
    """Point an alias of a model to another version, after checking every file of that version.

    Running replicas notice the change within UQ4CT_ALIAS_POLL_SECONDS and switch once the version is loaded and warm.
    """
    adapters = Registry(model_store_dir)
    adapters.verify(f"{name}@{version}")
    adapters.promote(name, version, alias)
    typer.echo(f"{name}@{alias} now points to {name}@{version}")


cli.command()(replay)
for _run in (serve, check):
    cli.command()(_command(_run))
cli.command("calibration-report")(calibration_report)
cli.add_typer(key_commands, name="keys")
cli.add_typer(ledger)
