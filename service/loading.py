"""Load the base model as configured; the only place where the service loads a base model."""

from __future__ import annotations

import gc
import logging

import torch
from transformers.utils.logging import disable_progress_bar

from uq4ct.model_store.published import AdapterHost, load_base_of
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.threads import most_threads
from uq4ct.service.settings import Settings, SettingsError

logger = logging.getLogger(__name__)


def choose_reference(settings: Settings, adapters: Registry) -> str:
    """Return the reference of the default adapter: UQ4CT_DEFAULT_MODEL, or the only registered name.

    Raises:
        SettingsError: UQ4CT_DEFAULT_MODEL is not set and the number of registered names is not 1.
        InvalidReferenceError, UnknownAdapterError: UQ4CT_DEFAULT_MODEL is not registered.
    """
    if settings.default_model is not None:
        adapters.resolve(settings.default_model)
        return settings.default_model
    names = sorted({name for name, _ in adapters.references()})
    if len(names) != 1:
        found = ", ".join(names) if names else "no adapters"
        raise SettingsError(f"UQ4CT_DEFAULT_MODEL is not set, and UQ4CT_MODEL_STORE_DIR {adapters.root} has {found}")
    return names[0]


def configured_threads(settings: Settings) -> int:
    """Return UQ4CT_THREADS, or one thread for each usable CPU, but not more than OMP_NUM_THREADS."""
    return settings.threads or most_threads()


def load_host(settings: Settings, adapters: Registry, reference: str) -> AdapterHost:
    """Load the base model that a registered adapter names, with the device and number format of the settings.

    Raises:
        StoreError: the adapter is unknown, or its manifest is damaged or of a newer format.
        BaseModelError: the base model is not available.
    """
    torch.set_num_threads(configured_threads(settings))
    disable_progress_bar()  # it would interrupt the JSON lines on stderr
    base = load_base_of(
        adapters.manifest(reference),
        device=settings.device,
        dtype=settings.dtype,
        base_cache=settings.base_cache_dir,
        base_folders=settings.base_folders,
    )
    logger.info("base model loaded", extra={"base": base.identity.name, "reading": base.reading.describe()})
    return AdapterHost(base)


def load_host_for_good(settings: Settings, adapters: Registry, reference: str) -> AdapterHost:
    """Call `load_host` in a process that keeps the base model until it exits.

    The objects in memory after loading, hundreds of thousands of them from imported libraries, are excluded from later
    garbage collections: each full collection would block every thread while it scans them.
    """
    host = load_host(settings, adapters, reference)
    gc.collect()
    gc.freeze()
    gc.collect()  # how often full collections run depends on the number of objects that the last one found
    return host
