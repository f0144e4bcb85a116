"""The experts of a whole feed-forward block (MixLoRA), as expert banks of its three linears.

A gated feed-forward block computes down(act(gate(h)) * up(h)). With k experts kept for each token, `gate` and `up`
return one row for each kept expert, [..., k, f], the base model's own code multiplies them element by element, and
`down` weighs the rows and adds them up. So the block's code stays as it is and its base linears run once:

    gate_k = W_g h + s B_g (A_g h of the k-th kept expert)        up_k likewise        a_k = act(gate_k) * up_k
    out = W_d (sum_k g_k a_k) + s B_d (sum_k g_k A_d a_k of the k-th kept expert)

Source: Li et al. 2024 (MixLoRA), whose code runs W_d once for each expert; that g adds up to 1 makes the two equal,
a bias of W_d included.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from uq4ct.model_store.adapters.config import BLOCK_TARGETS, AdapterConfig
from uq4ct.model_store.adapters.expert_bank import ExpertBank


def build_bank(linear: str, in_features: int, out_features: int, config: AdapterConfig) -> ExpertBank:
    """The bank of the linear of that name: which kind, and with how many experts, is a matter of the placement."""
    if config.placement == "layer":
        return ExpertBank(in_features, out_features, config)
    if linear not in BLOCK_TARGETS:
        return ExpertBank(in_features, out_features, config.plain)
    kind = ClosingBank if linear == "down_proj" else OpeningBank
    return kind(in_features, out_features, config)


class OpeningBank(ExpertBank):
    """The experts of a block's first linear: [..., d] in, a row for each kept expert out, [..., k, f]."""

    def __init__(self, in_features: int, out_features: int, config: AdapterConfig) -> None:
        super().__init__(in_features, out_features, config)
        self.top_k = config.top_k

    def base_output(self, base_layer: nn.Module, inputs: Tensor, gates: Tensor | None) -> Tensor:  # noqa: ARG002
        """W h, the same for every kept expert: [..., d] -> [..., k, f]."""
        output = base_layer(inputs)
        return output.unsqueeze(-2).expand(*output.shape[:-1], self.top_k, -1)

    def gate(self, low_rank: Tensor, gates: Tensor | None) -> Tensor:
        """Keep in each row the rank dimensions of its own expert: [..., N * r] -> [..., k, N * r]."""
        _, chosen = _kept(gates, self.top_k)
        scaled = (chosen * self.scale).to(low_rank.dtype).unsqueeze(-1)  # [..., k, N, 1]
        return (low_rank.unflatten(-1, (self.experts, self.rank)).unsqueeze(-3) * scaled).flatten(-2)


class ClosingBank(ExpertBank):
    """The experts of a block's last linear: the rows of the kept experts in, [..., k, f], their weighted sum out."""

    def __init__(self, in_features: int, out_features: int, config: AdapterConfig) -> None:
        super().__init__(in_features, out_features, config)
        self.top_k = config.top_k

    def base_output(self, base_layer: nn.Module, inputs: Tensor, gates: Tensor | None) -> Tensor:
        """W (sum_k g_k a_k): [..., k, f] -> [..., d]."""
        weights, _ = _kept(gates, self.top_k)
        return base_layer((weights.to(inputs.dtype).unsqueeze(-2) @ inputs).squeeze(-2))

    def gate(self, low_rank: Tensor, gates: Tensor | None) -> Tensor:
        """Weigh each row's own rank dimensions and add the rows up: [..., k, N * r] -> [..., N * r]."""
        weights, chosen = _kept(gates, self.top_k)
        scaled = (weights.unsqueeze(-1) * chosen * self.scale).to(low_rank.dtype)  # [..., k, N]
        rows = low_rank.unflatten(-1, (self.experts, self.rank))
        return (rows * scaled.unsqueeze(-1)).sum(dim=-3).flatten(-2)


def _kept(gates: Tensor | None, top_k: int) -> tuple[Tensor, Tensor]:
    """The weights [..., k] of the kept experts and which they are, one-hot [..., k, N], from all gates [..., N].

    The three linears of a block ask with the same gates, so the rows are in the same order in each.
    """
    if gates is None:
        raise ValueError("a feed-forward block of experts needs the gates of a router")
    weights, indices = gates.topk(top_k, dim=-1)
    return weights, F.one_hot(indices, gates.shape[-1]).to(gates.dtype)
