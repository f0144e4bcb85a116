"""Probe a model whose forwards fail."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from uq4ct.service.engine.loaded import LoadedAdapters
from uq4ct.service.engine.worker import Worker

logger = logging.getLogger(__name__)


async def probe_while_failing(worker: Worker, loaded: LoadedAdapters, seconds: float) -> None:
    """Probe the default adapter every `seconds` while forwards fail; runs until it is cancelled.

    A load balancer sends no questions to a replica that is not ready, so only a probe can show that it works again.
    """
    while True:
        await asyncio.sleep(seconds)
        if worker.is_failing:
            await _probe(worker, loaded)


async def _probe(worker: Worker, loaded: LoadedAdapters) -> None:
    adapter = loaded.default
    if adapter is None:
        return
    try:
        with loaded.holding([adapter]):
            await worker.call(partial(worker.probe, adapter.predictor))
    except Exception as error:  # whatever it is, the next probe may succeed
        logger.warning("probe failed", extra={"error": type(error).__name__})
    else:
        logger.info("probe succeeded")
