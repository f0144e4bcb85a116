"""Posteriors that draw weights, on an adapter whose experts are whole feed-forward blocks."""

from __future__ import annotations

from typing import Any

import torch

from uq4ct.model_store.posteriors.draws import bank_places
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.model_store.token_batch import candidate_mask, collate


def test_a_sample_of_a_block_is_a_forward_with_its_weights(tiny_base: Any, make_model: Any, questions: Any) -> None:
    model = make_model(tiny_base, placement="block", mixing="renormalised")
    tensors = {name: parameter.detach().clone() for name, parameter in model.adapter_tensors().items()}
    config = DropoutConfig(samples=3, share=0.3, seed=11)
    batch = collate([model.scorer.encode(question) for question in questions])
    samples = config.build(tensors).candidate_samples(model, batch)
    for index in range(config.samples):
        draws = {place: config.draw(place, tensors) for place in bank_places(tensors)}
        drawn = {f"{place}.A": banks.A[index] for place, banks in draws.items()}
        model.load_adapter_tensors(tensors | drawn)
        with torch.no_grad():
            torch.testing.assert_close(samples.logits[index], model(batch).logits, atol=2e-5, rtol=1e-5)
    spread = samples.logits[0] - samples.logits[1]
    assert spread[candidate_mask(batch.options, batch.width)].abs().max() > 1e-3
