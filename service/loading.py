"""From settings to a loaded base model; the only place where the service meets torch's settings and the base model."""

from __future__ import annotations

import gc

import torch
from transformers.utils.logging import disable_progress_bar

from uq4ct.model_store.published import AdapterHost, load_base_of
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.settings import Settings, SettingsError


def choose_reference(settings: Settings, adapters: Registry) -> str:
    """The adapter to serve: UQ4CT_DEFAULT_MODEL, or the only name that is registered.

    Raises:
        SettingsError: UQ4CT_DEFAULT_MODEL is not set and there is not exactly one name.
        InvalidReferenceError, UnknownAdapterError: UQ4CT_DEFAULT_MODEL is not registered.
    """
    if settings.default_model is not None:
        adapters.resolve(settings.default_model)
        return settings.default_model
    names = sorted({name for name, _ in adapters.references()})
    if len(names) != 1:
        found = ", ".join(names) if names else "no adapter at all"
        raise SettingsError(f"UQ4CT_DEFAULT_MODEL: is not set, and UQ4CT_MODEL_STORE_DIR {adapters.root} holds {found}")
    return names[0]


def load_host(settings: Settings, adapters: Registry, reference: str) -> AdapterHost:
    """Load the base model that a registered adapter names, as the settings say.

    Raises:
        StoreError: the adapter is unknown, or its manifest is damaged or of a newer format.
        BaseModelError: the base model cannot be had.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    disable_progress_bar()  # it would stand between the JSON lines on stderr
    manifest = adapters.manifest(reference)
    return AdapterHost(
        load_base_of(manifest, device=settings.device, dtype=settings.dtype, base_cache=settings.base_cache_dir)
    )


def load_host_for_good(settings: Settings, adapters: Registry, reference: str) -> AdapterHost:
    """`load_host` in a process that keeps the base model until it ends.

    What is in memory then, hundreds of thousands of objects of imported libraries, is left out of all later garbage
    collections: each full one would hold up every thread while it looks through them.
    """
    host = load_host(settings, adapters, reference)
    gc.collect()
    gc.freeze()
    gc.collect()  # how often they run depends on how much the last one looked at
    return host
