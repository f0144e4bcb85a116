"""What `uq4ct demo` does: train, score, publish, serve and ask."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console

from uq4ct.model_store.environment import PREFIX, variable_name
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.console import say
from uq4ct.training.evaluation.publication import Publication, publish_run
from uq4ct.training.evaluation.scores import paired_differences
from uq4ct.training.evaluation.tables import difference_table, score_table
from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.train import train_run

START_SECONDS = 120
STOP_SECONDS = 30
_KEPT = (variable_name("BASE_CACHE_DIR"),)  # the training has converted the base model there

QUESTIONS: dict[str, dict[str, Any]] = {
    "an easy question": {
        "question": "What is the capital of France?",
        "options": ["Madrid", "Paris", "Oslo", "Vienna"],
    },
    "a hard question": {
        "question": "What is the capital of Burkina Faso?",
        "options": ["Niamey", "Bamako", "Ouagadougou", "Lomé"],
    },
    "a question outside the training subjects": {
        "question": "Why do leaves of many trees turn yellow in autumn?",
        "options": [
            "Chlorophyll breaks down and other pigments show",
            "The roots take up yellow minerals",
            "Insects lay yellow eggs on them",
            "Frost paints the surface of the leaf",
        ],
    },
}


class DemoError(UserError, RuntimeError):
    """The demo failed: the answers did not improve, or the service did not answer."""


def run_demo(config: RunConfig, folder: Path, store: Path, console: Console) -> None:
    """Train, publish, serve and ask, and show every step.

    Raises:
        DemoError: the test NLL did not fall with a paired 95 % interval that excludes 0, or the service gave no answer.
    """
    console.rule("1. train")
    train_run(config, folder, console, resume=True)
    console.rule("2. score and publish")
    publication = publish_run(folder, Registry(store), console, promote=True, allow_weak_calibration=True)
    say(console, f"published {publication.manifest.reference}")
    console.rule("3. serve and ask")
    with _service(store, publication.manifest.reference) as client:
        for title, question in QUESTIONS.items():
            answer = ask(client, question)
            say(console, f"{title}: {question['question']}")
            console.print_json(json.dumps(answer))
    console.rule("4. before and after")
    _show(publication, console)


def _show(publication: Publication, console: Console) -> None:
    manifest: Manifest = publication.manifest
    columns = {
        "untrained": manifest.scores_untrained,
        "trained": manifest.scores_before,
        "served": manifest.scores_after,
    }
    title = f"{manifest.reference} on its test split; served = trained + temperature"
    console.print(score_table({name: scores for name, scores in columns.items() if scores is not None}, title))
    differences = paired_differences(publication.served, publication.untrained)
    console.print(difference_table(differences, "served minus untrained, on the same questions"))
    interval = differences["nll"][1]
    if interval.high >= 0:
        raise DemoError(f"the test NLL did not fall: the 95 % interval of its change reaches {interval.high:+.4f}")
    console.print("the test NLL fell, and its 95 % interval excludes 0", style="bold green")


def service_environment(environ: Mapping[str, str], store: Path, reference: str, port: int) -> dict[str, str]:
    """Return the environment of the demo's service: other programs' variables, and only its own settings.

    Settings of the user may be those of another service, such as a file of keys that the demo does not have.
    """
    others = {name: text for name, text in environ.items() if name in _KEPT or not name.upper().startswith(PREFIX)}
    return others | {
        variable_name("MODEL_STORE_DIR"): str(store),
        variable_name("DEFAULT_MODEL"): reference,
        variable_name("PORT"): str(port),
        variable_name("LOG_LEVEL"): "warning",
        variable_name("SHUTDOWN_GRACE_SECONDS"): "0",
    }


def ask(client: httpx2.Client, question: Mapping[str, Any]) -> Any:
    """Return the service's answer to a question.

    Raises:
        DemoError: the service refused the question or sent no answer.
    """
    try:
        reply = client.post("/predict", json=question, timeout=60)
    except httpx2.TransportError as error:
        raise DemoError(f"the service did not answer /predict: {error}") from error
    if reply.status_code != 200:
        raise DemoError(f"the service answered /predict with {reply.status_code}: {reply.text}")
    return reply.json()


@contextmanager
def _service(store: Path, reference: str) -> Iterator[httpx2.Client]:
    """Run the service in a separate process, started as a user starts it, until the block ends."""
    port = _free_port()
    environment = service_environment(os.environ, store, reference, port)
    process = subprocess.Popen([sys.executable, "-m", "uq4ct", "serve"], env=environment)
    try:
        # trust_env=False: requests to this machine must not use a proxy from the environment.
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            _wait_until_ready(process, client)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=STOP_SECONDS)
    if code != 0:
        raise DemoError(f"the service exited with code {code}")


def _wait_until_ready(process: subprocess.Popen[bytes], client: httpx2.Client) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"the service exited with code {process.returncode} before it was ready")
        try:
            if client.get("/health/ready", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass  # not listening yet
        time.sleep(0.2)
    raise DemoError(f"the service was not ready within {START_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
