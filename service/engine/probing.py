"""Probe a model whose forwards fail, and give it up if it does not recover."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from uq4ct.service.engine.loaded import LoadedAdapters
from uq4ct.service.engine.memory_errors import out_of_memory_reason
from uq4ct.service.engine.worker import Worker

logger = logging.getLogger(__name__)


async def probe_while_failing(worker: Worker, loaded: LoadedAdapters, seconds: float, patience: float) -> None:
    """Probe every `seconds` while forwards fail, and end the worker after `patience` seconds of failures.

    A load balancer sends no questions to a replica that is not ready, so only a probe can show that it works again.
    Runs until it is cancelled or the worker is given up.
    """
    clock = asyncio.get_running_loop().time
    failing_since: float | None = None
    while True:
        await asyncio.sleep(seconds)
        if not worker.is_failing:
            failing_since = None
            continue
        failing_since = clock() if failing_since is None else failing_since
        await _probe(worker, loaded)
        if not worker.is_failing:
            failing_since = None
        elif clock() - failing_since >= patience:
            logger.critical("model given up", extra={"failing_seconds": round(clock() - failing_since, 1)})
            worker.give_up()
            return


async def _probe(worker: Worker, loaded: LoadedAdapters) -> None:
    """Try each question that should fit in memory again, or ask the default adapter if there is none."""
    suspects = worker.suspects.all()
    try:
        for suspect in suspects:
            if suspect.adapter in loaded:
                with loaded.holding([suspect.adapter]):
                    await worker.call(partial(worker.retry, suspect))
            else:
                await worker.call(partial(worker.suspects.clear, suspect.adapter, suspect.encoded.length))
        if not suspects and loaded.default is not None:
            with loaded.holding([loaded.default]):
                await worker.call(partial(worker.probe, loaded.default.predictor))
    except Exception as error:  # whatever it is, the next probe may succeed
        extra = {"error": type(error).__name__, "reason": out_of_memory_reason(error)}
        logger.warning("probe failed", extra=extra)
    else:
        logger.info("probe succeeded")
