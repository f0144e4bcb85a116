"""A store with one adapter on the tests' tiny base model, for costs that do not depend on the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.gpu.parts import Setting
from tests.gpu.stored import publish
from uq4ct.model_store.storage.manifest import ManifestDraft
from uq4ct.model_store.storage.registry import Registry


def tiny_store(folder: Path) -> Registry:
    """Publish point@1 in a store inside the folder."""
    return publish(Setting(torch.device("cpu"), "tiny", folder), "point")


def publish_tiny(folder: Path, store: Path) -> None:
    """Publish the same adapter as `bench` in a store of its own."""
    stored = tiny_store(folder).load("point@1")
    fields: dict[str, Any] = {name: getattr(stored.manifest, name) for name in ManifestDraft.model_fields}
    fields["name"] = "bench"
    Registry(store).publish(ManifestDraft(**fields), stored.tensors, {}, promote=True)
