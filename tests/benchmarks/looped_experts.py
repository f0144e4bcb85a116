"""The reference: experts one by one, each on the tokens that chose it, as MixLoRA-style code runs them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.adapters.context import current_forward
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.layers import AdaptedLinear


class LoopedLinear(nn.Module):
    """The same weights, mixing rule and dtype as an `AdaptedLinear`; one gather, product and scatter per expert."""

    def __init__(self, adapted: AdaptedLinear, adapter: str) -> None:
        super().__init__()
        bank = adapted.banks[adapter]
        assert isinstance(bank, ExpertBank)
        self.base_layer, self.bank, self.layer_index = adapted.base_layer, bank, adapted.layer_index

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.base_layer(inputs)
        context = current_forward()
        assert context is not None
        bank, flat = self.bank, inputs.flatten(0, -2)
        gates = context.gates(self.layer_index).flatten(0, -2)
        added = torch.zeros_like(output.flatten(0, -2))
        for expert in range(bank.experts):
            rows = slice(expert * bank.rank, (expert + 1) * bank.rank)
            (tokens,) = torch.where(gates[:, expert] > 0)
            low_rank = F.linear(bank.dropout(flat[tokens]), bank.A[rows].to(flat.dtype))
            values = F.linear(low_rank, bank.B[:, rows].to(flat.dtype)) * bank.scale
            added = added.index_add(0, tokens, values * gates[tokens, expert, None].to(values.dtype))
        return output + added.view_as(output)


Place = tuple[nn.Module, str, AdaptedLinear, LoopedLinear]  # parent, attribute, ours, looped


def loop_experts(model: AdaptedModel) -> list[Place]:
    """Return the place of a looped layer for every adapted linear."""
    places = []
    for name, module in model.tuner.model.named_modules():
        if isinstance(module, AdaptedLinear):
            parent, _, attribute = name.rpartition(".")
            looped = LoopedLinear(module, model.adapter)
            places.append((model.tuner.model.get_submodule(parent), attribute, module, looped))
    return places
