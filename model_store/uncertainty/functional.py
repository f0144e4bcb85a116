"""The router mass of the kept experts, as a score of confidence."""

from __future__ import annotations

import torch
from torch import Tensor


def functional_uncertainty(kept_mass: Tensor, token_mask: Tensor) -> Tensor:
    """Return the FEU of each question: the router mass of the kept experts, averaged over real tokens and layers.

    `kept_mass` [L, B, T] is the raw softmax mass summed over the top-k experts, in (0, 1]; `token_mask` bool [B, T]
    marks the tokens that count. Returns float64 [B] in [k / experts, 1], high = the routers are confident. Values at
    the other tokens affect neither the result nor the gradients.
    A question without a token that counts gets NaN; raises ValueError on shapes that do not match and on zero layers.
    Source: UQ4CT (functional-level uncertainty quantification), equation 9 in its scalar reading.
    """
    if kept_mass.ndim != 3 or token_mask.shape != kept_mass.shape[1:] or kept_mass.shape[0] == 0:
        raise ValueError(
            f"kept_mass must be [L, B, T] with L >= 1 and token_mask [B, T], "
            f"not {list(kept_mass.shape)} and {list(token_mask.shape)}"
        )
    if token_mask.dtype != torch.bool:
        raise ValueError(f"token_mask must be bool, not {token_mask.dtype}")
    tokens = token_mask.sum(dim=-1)
    # A selection, not a product: 0 * NaN is NaN.
    real_mass = torch.where(token_mask, kept_mass, 0.0)
    return real_mass.sum(dim=(0, 2), dtype=torch.float64) / (tokens * kept_mass.shape[0])
