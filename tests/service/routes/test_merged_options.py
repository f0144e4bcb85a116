"""An option that the base model's tokenizer merges with the prompt is an invalid field of its question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import make_draft
from tests.service.conftest import Start
from tests.service.problem_documents import problem
from tests.tiny_base import merging_tokenizer
from uq4ct.model_store.base.models import BaseModel, load_base_model
from uq4ct.model_store.published import AdapterHost
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.registry import Registry

pytestmark = pytest.mark.anyio
GOOD = {"question": "Which?", "options": ["red", "white"]}
MERGED = {"question": "Which?", "options": ["red", "blue"]}
ERRORS = [{"field": "options.1", "message": "' blue' does not begin a new token after '\\nAnswer:'"}]


@pytest.fixture
def merging(tmp_path: Path, make_base_folder: Callable[..., Path], make_model: Any) -> tuple[Registry, BaseModel]:
    """A store with one adapter, and its base, whose tokenizer merges `: b`."""
    folder = str(make_base_folder(tmp_path / "base", tokenizer=merging_tokenizer()))
    base = load_base_model(folder, device="cpu", dtype="float32")
    model = make_model(base, ClozeConfig())
    draft = make_draft("tiny", base=base.identity, adapter=model.config, scoring=ClozeConfig())
    registry = Registry(tmp_path / "store")
    registry.publish(draft, model.adapter_tensors(), {}, promote=True)
    return registry, load_base_model(folder, device="cpu", dtype="float32")


async def test_a_merged_option_is_a_422_and_its_neighbours_are_answered(
    start: Start, merging: tuple[Registry, BaseModel]
) -> None:
    registry, base = merging
    async with start(lambda: AdapterHost(base), adapters=registry, default_model="tiny") as replica:
        assert problem(await replica.post("/predict", MERGED), 422, "invalid-field")["errors"] == ERRORS
        response = await replica.post("/predict/batch", {"questions": [GOOD, MERGED, GOOD]})
        first, refused, last = response.json()["results"]
        assert (refused["status"], refused["errors"]) == (422, ERRORS)
        assert first["probabilities"] == last["probabilities"]
