"""`uq4ct check-base`: what a base model is, how it reads questions, and where adapters go."""

from __future__ import annotations

from typing import Annotated

import typer

from uq4ct.model_store.base.identity import EMBEDDED
from uq4ct.training.commands.options import console
from uq4ct.training.console import say


def check_base(
    name: Annotated[str, typer.Argument(help="embedded name, .gguf file, folder or hub id")] = EMBEDDED,
    revision: Annotated[str | None, typer.Option(help="commit or tag, for a hub id")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16")] = "auto",
) -> None:
    """Load a base model and say whether adapters can be trained on it.

    A few random tokens are read together and alone; if they differ, the base model is refused with the differences.
    """
    from uq4ct.model_store.base.models import load_base_model
    from uq4ct.training.evaluation.base_report import describe_base
    from uq4ct.training.model_process import prepare_process

    prepare_process()
    for line in describe_base(load_base_model(name, revision, device=device, dtype=dtype)):
        say(console, line)
