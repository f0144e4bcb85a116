"""Checkouts as they are after the demo: an adapter in the store, on a tiny base model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import make_draft
from tests.readme.examples.root import MAKE_SERVE
from tests.readme.terminal import Terminal, check_out
from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.settings import Settings

STORE = Settings.model_fields["model_store_dir"].default


@pytest.fixture(
    params=[pytest.param(True, id="in-process"), pytest.param(False, id="sh", marks=pytest.mark.slow)],
)
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Terminal:
    """A terminal in a checkout without data; the slow suite uses `sh`, because each Python takes seconds to start."""
    return Terminal(check_out(tmp_path), in_process=request.param)


@pytest.fixture
def checkout(tmp_path: Path) -> Terminal:
    """A terminal in a checkout, for commands that start no Python."""
    return Terminal(check_out(tmp_path), in_process=True)


@pytest.fixture
def shell(tmp_path: Path) -> Terminal:
    """A terminal that uses `sh` only, for commands that are too slow on the embedded base model to run twice."""
    return Terminal(check_out(tmp_path), in_process=False)


@pytest.fixture(scope="session")
def tiny_store(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_folder: Path,
    make_model: Callable[..., AdaptedModel],
) -> Path:
    """A store with two versions of `quickstart`, the first in production; tests only read it."""
    registry = Registry(tmp_path_factory.mktemp("readme") / "store")
    for seed in (1, 2):
        base = load_base_model(str(tiny_folder), device="cpu", dtype="float32")
        model: Any = make_model(base, seed=seed)
        draft = make_draft("quickstart", base=base.identity, adapter=model.config, scoring=ClozeConfig())
        registry.publish(draft, model.adapter_tensors(), {}, promote=seed == 1)
    return registry.root


@pytest.fixture
def stocked(terminal: Terminal, tiny_store: Path) -> Terminal:
    """A terminal in a checkout whose store holds `quickstart`."""
    shutil.copytree(tiny_store, terminal.folder / STORE)
    return terminal


@pytest.fixture(scope="session")
def open_service(tmp_path_factory: pytest.TempPathFactory, tiny_store: Path) -> Iterator[tuple[Terminal, str]]:
    """Start `make serve`, which needs no key; yield a terminal in its checkout and its address."""
    terminal = Terminal(check_out(tmp_path_factory.mktemp("served")), in_process=True)
    shutil.copytree(tiny_store, terminal.folder / STORE)
    with terminal.serve(MAKE_SERVE) as address:
        yield terminal, address
