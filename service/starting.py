"""Start the service, or check that it could start: what `uq4ct serve` and `uq4ct check` do."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import time
from functools import partial

import torch
from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from uq4ct.model_store.cpus import OtherPrograms, usable_cpus
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.threads import ThreadChoice
from uq4ct.service.access.keys import read_keys
from uq4ct.service.app import create_app
from uq4ct.service.ending import ending_despite_hangs
from uq4ct.service.engine.predictor import check_answer
from uq4ct.service.engine.worker import WARM_UP
from uq4ct.service.loading import choose_reference, configured_threads, load_host, load_host_for_good
from uq4ct.service.server import serve as serve_app
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.logs import log_to_stderr
from uq4ct.service.telemetry.request_ids import TimeOrderedIds
from uq4ct.service.telemetry.tracing import exported_traces


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


def choose_threads(settings: Settings) -> ThreadChoice:
    """Return the most threads of the settings, with fewer while other programs compute unless UQ4CT_THREADS is set."""
    busy_cpus = OtherPrograms().busy_cpus if settings.threads is None else None
    return ThreadChoice(configured_threads(settings), usable_cpus(), busy_cpus, torch.set_num_threads)


def check(settings: Settings) -> str:
    """Read the keys, load the model, answer one question, and return the answer as JSON."""
    log_to_stderr(settings.log_level)
    if settings.api_keys_file is not None:
        read_keys(settings.api_keys_file)
    adapters = Registry(settings.model_store_dir)
    reference = choose_reference(settings, adapters)
    predictor = load_host(settings, adapters, reference).add(adapters.load(reference))
    (answer,) = predictor.answer([predictor.encode(WARM_UP)])
    check_answer(answer, len(WARM_UP.options))
    shown = {"model": predictor.manifest.reference, "question": WARM_UP.text, "options": WARM_UP.options}
    return json.dumps(shown | dataclasses.asdict(answer))
