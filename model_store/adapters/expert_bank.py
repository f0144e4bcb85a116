"""All LoRA experts of one linear in two matrix products."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.dropout import WordDropout


class ExpertBank(nn.Module):
    """N experts of rank r side by side: A [N * r, in] and B [out, N * r].

    The sum over experts of g_n B_n A_n x is B (g * A x) with each gate g_n repeated over the r rows of its expert,
    without a loop over experts or a gather. Weights are master copies: they are cast to the dtype of the input.
    """

    def __init__(
        self, in_features: int, out_features: int, config: AdapterConfig, device: torch.device | None = None
    ) -> None:
        super().__init__()
        self.experts = config.experts
        self.rank = config.rank
        self.scale = config.scale
        self.weighs_base = config.mixing == "raw_with_base"
        self.dropout = WordDropout(config.dropout)
        self.A = nn.Parameter(torch.empty(config.experts * config.rank, in_features, device=device))
        self.B = nn.Parameter(torch.zeros(out_features, config.experts * config.rank, device=device))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, inputs: Tensor, base_output: Tensor, gates: Tensor | None) -> Tensor:
        """Add the experts' output to that of the base layer (equations 3 and 7).

        `inputs` is [..., in], `base_output` [..., out], `gates` [..., N] or None for one expert of weight 1.
        """
        return self.expand(self.gate(self.project(inputs), gates), base_output)

    def base_output(self, base_layer: nn.Module, inputs: Tensor, gates: Tensor | None) -> Tensor:
        """Return what the experts' output is added to, [..., in] -> [..., out]: W x, or its share by equation 3."""
        output = base_layer(inputs)
        if gates is None or not self.weighs_base:
            return output
        return output * gates.sum(-1).to(output.dtype).view(*output.shape[:-1], 1)

    def project(self, inputs: Tensor) -> Tensor:
        """Return A x, after dropout: [..., in] -> [..., N * r]."""
        return F.linear(self.dropout(inputs), self.A.to(inputs.dtype))

    def expand(self, low_rank: Tensor, base_output: Tensor) -> Tensor:
        """Add B z to the base layer's output: [..., N * r] -> [..., out]."""
        added = torch.addmm(base_output.flatten(0, -2), low_rank.flatten(0, -2), self.B.to(low_rank.dtype).T)
        return added.view_as(base_output)

    def gate(self, low_rank: Tensor, gates: Tensor | None) -> Tensor:
        """Weigh the experts' rows of A x [..., N * r] by their gates [..., N] and the scale of B A.

        A linear may see the tokens of the gates in another shape, such as [R, 1, W, in], but in the same order.
        """
        if gates is None:
            return low_rank * self.scale
        scaled = (gates * self.scale).to(low_rank.dtype).view(*low_rank.shape[:-1], self.experts, 1)
        return (low_rank.unflatten(-1, (self.experts, self.rank)) * scaled).flatten(-2)
