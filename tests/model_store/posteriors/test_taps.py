"""The Jacobian of candidate logits, compared with automatic differentiation by the weights themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uq4ct.model_store.posteriors.taps import BankTaps, weight_jacobians
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.token_batch import candidate_mask, collate

PLACEMENTS = [
    {"experts": 1, "top_k": 1},
    {"experts": 4, "top_k": 2},
    {"experts": 4, "top_k": 2, "placement": "block", "mixing": "renormalised"},
]


@pytest.mark.parametrize("scoring", [LetterConfig(), ClozeConfig()], ids=lambda scoring: scoring.kind)
@pytest.mark.parametrize("placement", PLACEMENTS, ids=["plain", "routed", "block"])
def test_the_jacobian_is_that_of_autograd(
    placement: Any, scoring: Any, tiny_base: Any, make_model: Any, questions: Any
) -> None:
    """In float64, for every bank, every candidate of unequal questions in one batch; the learned scale is not 1."""
    tiny_base.model.double()
    model = make_model(tiny_base, scoring, **placement).double()
    if isinstance(scoring, ClozeConfig):
        with torch.no_grad():
            model.scorer.log_scale.fill_(0.3)
    batch = collate([model.scorer.encode(question) for question in questions])
    through = BankTaps()
    logits = model(batch, through).logits
    found = weight_jacobians(logits, through.taps)
    weights = {name: tensor for name, tensor in model.adapter_tensors().items() if ".experts." in name}
    assert set(found) == set(weights)
    torch.testing.assert_close(logits, model(batch).logits, rtol=0, atol=0)
    for row, question in enumerate(questions):
        for candidate in range(len(question.options)):
            value = model(batch).logits[row, candidate]
            expected = torch.autograd.grad(value, list(weights.values()))
            for name, gradient in zip(weights, expected, strict=True):
                torch.testing.assert_close(found[name][row, candidate], gradient, rtol=1e-7, atol=1e-8)
    absent = ~candidate_mask(batch.options, batch.width)
    assert all((jacobian[absent] == 0).all() for jacobian in found.values())


def test_frozen_weights_have_the_same_jacobian(tiny_base: Any, make_model: Any, questions: Any) -> None:
    """As in the service; no gradients are left anywhere."""
    model = make_model(tiny_base, experts=1, top_k=1)
    batch = collate([model.scorer.encode(question) for question in questions])
    taps = BankTaps()
    trained = weight_jacobians(model(batch, taps).logits, taps.taps)
    model.freeze()
    again = BankTaps()
    frozen = weight_jacobians(model(batch, again).logits, again.taps)
    for name, jacobian in trained.items():
        torch.testing.assert_close(frozen[name], jacobian, rtol=0, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())
