"""The experts of a whole feed-forward block (MixLoRA), as expert banks of its three linears.

A gated feed-forward block computes down(act(gate(h)) * up(h)). With k experts kept for each token, `gate` and `up`
return one row per kept expert, [..., k, f], the base model's own code multiplies them element by element, and `down`
weighs the rows and adds them up. So the block's code stays unchanged and its base linears run once:

    gate_k = W_g h + s B_g (A_g h of the k-th kept expert)        up_k likewise        a_k = act(gate_k) * up_k
    out = W_d (sum_k g_k a_k) + s B_d (sum_k g_k A_d a_k of the k-th kept expert)

Source: Li et al. 2024 (MixLoRA). Their code runs W_d once per expert; the results are equal because g adds up to 1,
even with a bias of W_d.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.expert_bank import ExpertBank


def build_bank(
    in_features: int,
    out_features: int,
    config: AdapterConfig,
    device: torch.device | None = None,
    *,
    in_block: bool,
    closing: bool,
) -> ExpertBank:
    """Build the bank of a linear; `in_block`: of a feed-forward block, `closing`: its last linear."""
    if config.placement == "layer":
        return ExpertBank(in_features, out_features, config, device)
    if not in_block:
        return ExpertBank(in_features, out_features, config.plain, device)
    kind = ClosingBank if closing else OpeningBank
    return kind(in_features, out_features, config, device)


class OpeningBank(ExpertBank):
    """The experts of a block's first linears: map [..., d] to one row per kept expert, [..., k, f]."""

    def __init__(
        self, in_features: int, out_features: int, config: AdapterConfig, device: torch.device | None = None
    ) -> None:
        super().__init__(in_features, out_features, config, device)
        self.top_k = config.top_k

    def base_output(self, base_layer: nn.Module, inputs: Tensor, gates: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return W h, the same for every kept expert: [..., d] -> [..., k, f]."""
        output = base_layer(inputs)
        return output.unsqueeze(-2).expand(*output.shape[:-1], self.top_k, -1)

    def gate(self, low_rank: Tensor, gates: Tensor | None) -> Tensor:
        """Keep in each row the rank dimensions of its own expert: [..., N * r] -> [..., k, N * r]."""
        _, chosen = _kept(gates, self.top_k)
        scaled = (chosen * self.scale).to(low_rank.dtype).unsqueeze(-1)  # [..., k, N, 1]
        return (low_rank.unflatten(-1, (self.experts, self.rank)).unsqueeze(-3) * scaled).flatten(-2)


class ClosingBank(ExpertBank):
    """The experts of a block's last linear: map the rows of the kept experts, [..., k, f], to their weighted sum."""

    def __init__(
        self, in_features: int, out_features: int, config: AdapterConfig, device: torch.device | None = None
    ) -> None:
        super().__init__(in_features, out_features, config, device)
        self.top_k = config.top_k

    def base_output(self, base_layer: nn.Module, inputs: Tensor, gates: Tensor | None) -> Tensor:
        """Return W (sum_k g_k a_k): [..., k, f] -> [..., d]."""
        weights, _ = _kept(gates, self.top_k)
        return base_layer((weights.to(inputs.dtype).unsqueeze(-2) @ inputs).squeeze(-2))

    def gate(self, low_rank: Tensor, gates: Tensor | None) -> Tensor:
        """Weigh each row's own rank dimensions and add the rows up: [..., k, N * r] -> [..., N * r]."""
        weights, chosen = _kept(gates, self.top_k)
        scaled = (weights.unsqueeze(-1) * chosen * self.scale).to(low_rank.dtype)  # [..., k, N]
        rows = low_rank.unflatten(-1, (self.experts, self.rank))
        return (rows * scaled.unsqueeze(-1)).sum(dim=-3).flatten(-2)


def _kept(gates: Tensor | None, top_k: int) -> tuple[Tensor, Tensor]:
    """Return the weights [..., k] and the one-hot indices [..., k, N] of the kept experts, from all gates [..., N].

    The three linears of a block pass the same gates, so their rows are in the same order.
    """
    if gates is None:
        raise ValueError("a feed-forward block of experts needs the gates of a router")
    weights, indices = gates.topk(top_k, dim=-1)
    return weights, F.one_hot(indices, gates.shape[-1]).to(gates.dtype)
