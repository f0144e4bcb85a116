"""The top-k router: from hidden states to expert weights and the raw mass that FEU averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

    def of_tokens(self, index: Tensor | tuple[int, Tensor]) -> Routing:
        """Return the routing of the tokens that an index into the leading dimensions selects."""
        return Routing(self.probabilities[index], self.gates[index], self.kept_mass[index])


def route(logits: Tensor, top_k: int, mixing: Literal["raw", "renormalised"]) -> Routing:
    """Keep the k most probable experts of each token (equations 2 and 8).

    `logits` is [..., N]. `raw` mixing weighs experts by their softmax mass (equation 7), `renormalised` by their share
    of the kept mass.
    """
    probabilities = torch.softmax(logits, dim=-1)
    kept = torch.zeros_like(probabilities).scatter_(-1, probabilities.topk(top_k, dim=-1).indices, 1.0)
    masses = probabilities * kept
    kept_mass = masses.sum(dim=-1)
    gates = masses if mixing == "raw" else masses / kept_mass.unsqueeze(-1)
    return Routing(probabilities, gates, kept_mass)


class Router(nn.Module):
    """A bias-free linear map [d] -> [N] followed by the top-k softmax, computed in at least fp32."""

    def __init__(
        self,
        hidden_size: int,
        experts: int,
        top_k: int,
        mixing: Literal["raw", "renormalised"],
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.mixing: Literal["raw", "renormalised"] = mixing
        self.weight = nn.Parameter(torch.empty(experts, hidden_size, device=device))
        nn.init.normal_(self.weight, std=ROUTER_INIT_STD)

    def forward(self, hidden: Tensor) -> Routing:
        """Route `hidden` [..., d]."""
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        return route(F.linear(hidden.to(dtype), self.weight.to(dtype)), self.top_k, self.mixing)
