from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.adapters.context import adapter_forward


@pytest.fixture(scope="session")
def plain_logits() -> Callable[..., torch.Tensor]:
    """Vocabulary logits [T, V] of a token list by the model's own causal forward, without our masks or batches."""

    def run(model: AdaptedModel, tokens: list[int]) -> torch.Tensor:
        with torch.no_grad(), adapter_forward(model.adapter):
            return model.tuner.model(torch.tensor([tokens]), use_cache=False).logits[0]

    return run
