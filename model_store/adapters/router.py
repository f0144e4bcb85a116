"""The top-k router: from hidden states to expert weights and the raw mass that FEU averages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uq4ct.model_store.adapters.config import Mixing

ROUTER_INIT_STD = 0.02


@dataclass(frozen=True, slots=True)
class Routing:
    """A router's decision for each token.

    `probabilities` [..., N] is the full softmax, `gates` [..., N] the weight of each expert (zero for those dropped),
    `kept_mass` [...] the sum of the kept probabilities before any renormalisation, in [k / N, 1].
    """

    probabilities: Tensor
    gates: Tensor
    kept_mass: Tensor

    def of_tokens(self, index: Tensor) -> Routing:
        """Return the routing of the tokens at `index` [N] of the R * W tokens that the routing of rows [R, W] has."""
        tensors = (self.probabilities, self.gates, self.kept_mass)
        return Routing(*(tensor.flatten(0, 1)[index] for tensor in tensors))


def route(logits: Tensor, top_k: int, mixing: Mixing) -> Routing:
    """Keep the k most probable experts of each token (equations 2 and 8).

    `logits` is [..., N]. `renormalised` mixing weighs experts by their share of the kept mass, every other by
    their softmax mass (equation 7).
    """
    probabilities = torch.softmax(logits, dim=-1)
    kept = torch.zeros_like(probabilities).scatter_(-1, probabilities.topk(top_k, dim=-1).indices, 1.0)
    masses = probabilities * kept
    kept_mass = masses.sum(dim=-1)
    gates = masses / kept_mass.unsqueeze(-1) if mixing == "renormalised" else masses
    return Routing(probabilities, gates, kept_mass)


class Router(nn.Module):
    """A bias-free linear map [d] -> [N] followed by the top-k softmax, computed in at least fp32."""

    def __init__(
        self,
        hidden_size: int,
        experts: int,
        top_k: int,
        mixing: Mixing,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.mixing: Mixing = mixing
        self.weight = nn.Parameter(torch.empty(experts, hidden_size, device=device))
        nn.init.normal_(self.weight, std=ROUTER_INIT_STD)

    def forward(self, hidden: Tensor) -> Routing:
        """Route `hidden` [..., d]."""
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        return route(F.linear(hidden.to(dtype), self.weight.to(dtype)), self.top_k, self.mixing)
