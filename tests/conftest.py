"""Fixtures that all tests share: a tiny base model in a folder, adapters on it, and one of them in a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.manifests import make_draft
from tests.tiny_base import save_tiny_base, train_tokenizer
from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.models import BaseModel, load_base_model
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry

# A machine with other work must not fail a test by its deadline.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

MakeFolder = Callable[..., Path]
MakeModel = Callable[..., AdaptedModel]


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on a few lines, without a start token."""
    return train_tokenizer(start_token=False)


@pytest.fixture(scope="session")
def starting_tokenizer() -> PreTrainedTokenizerFast:
    """The same tokenizer with a start token before every text."""
    return train_tokenizer(start_token=True)


@pytest.fixture(scope="session")
def make_base_folder(tiny_tokenizer: PreTrainedTokenizerFast) -> MakeFolder:
    """Save a tiny base model into a folder; the seed, the family and single settings may differ."""

    return partial(save_tiny_base, tokenizer=tiny_tokenizer)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, make_base_folder: MakeFolder) -> Path:
    """A folder with a tiny Llama; tests only read it."""
    return make_base_folder(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture
def tiny_base(tiny_folder: Path) -> BaseModel:
    """The tiny Llama, loaded for each test, since adapters are injected in place."""
    return load_base_model(str(tiny_folder), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Put an adapter with random weights, B included, on a base; in evaluation mode unless asked otherwise."""

    def make(
        base: BaseModel,
        scoring: LetterConfig | ClozeConfig | None = None,
        *,
        adapter: str = "default",
        tuner: Any = None,
        seed: int = 1,
        training: bool = False,
        **config: Any,
    ) -> AdaptedModel:
        settings = AdapterConfig(**{"experts": 4, "rank": 2, "alpha": 4.0, "dropout": 0.0, **config})
        model = add_adapter(base, settings, scoring or ClozeConfig(), adapter=adapter, tuner=tuner)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.adapter_tensors().values():
                if parameter.dim() == 2:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        return model.train(training)

    return make


@pytest.fixture(scope="session")
def questions() -> list[Question]:
    """Four questions of unequal length, with 2 to 5 options."""
    return [
        Question("q0", "What colour is the sky?", ("blue", "red at dusk", "white")),
        Question("q1", "Which of these animals lays eggs and cannot fly at all?", ("the dog", "the penguin")),
        Question("q2", "12 + 22?", ("34", "12", "567", "1", "none of these"), context="Sums of small numbers."),
        Question("q3", "Which letter?", ("B", "A", "Z", "Q")),
    ]


@dataclass(frozen=True)
class PublishedTiny:
    """A tiny adapter in a store: its reference, its base's folder and the model that it was stored from."""

    registry: Registry
    manifest: Manifest
    base_folder: Path
    model: AdaptedModel

    @property
    def reference(self) -> str:
        return self.manifest.reference


@pytest.fixture(scope="session")
def publish_tiny_in(tiny_folder: Path, make_model: MakeModel) -> Callable[..., PublishedTiny]:
    """Put an adapter with random weights on the tiny base and store it in a folder; the configuration may differ."""

    def publish(
        root: Path, name: str = "tiny", *, scoring: Any = None, seed: int = 1, adapter: Any = None, **changes: Any
    ) -> PublishedTiny:
        registry = Registry(root)
        base = load_base_model(str(tiny_folder), device="cpu", dtype="float32")
        model = make_model(base, scoring, seed=seed, **(adapter or {}))
        draft = make_draft(name, base=base.identity, adapter=model.config, scoring=scoring or ClozeConfig(), **changes)
        manifest = registry.publish(draft, model.adapter_tensors(), {}, promote=False)
        return PublishedTiny(registry, manifest, tiny_folder, model)

    return publish


@pytest.fixture
def publish_tiny(tmp_path: Path, publish_tiny_in: Callable[..., PublishedTiny]) -> Callable[..., PublishedTiny]:
    """The same, into the test's own store."""
    return partial(publish_tiny_in, tmp_path / "store")


@pytest.fixture
def published_tiny(publish_tiny: Callable[..., PublishedTiny]) -> PublishedTiny:
    """One tiny published adapter."""
    return publish_tiny()
