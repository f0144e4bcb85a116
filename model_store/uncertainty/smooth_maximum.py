"""A differentiable maximum of probabilities, and the unsureness of an answer computed from it."""

from __future__ import annotations

import torch
from torch import Tensor


def smooth_maximum(probabilities: Tensor, options: Tensor, sharpness: float) -> Tensor:
    """Return (1 / sharpness) logsumexp(sharpness * p) over each question's own candidates: [B].

    `probabilities` [B, C]; row b has the first `options[b]` candidates. The result exceeds the maximum by at most
    ln(options) / sharpness, and by exactly that if all are equal. Source: AdUE.
    """
    present = torch.arange(probabilities.shape[1], device=probabilities.device) < options.unsqueeze(1)
    scaled = (sharpness * probabilities).masked_fill(~present, -torch.inf)
    return scaled.logsumexp(dim=-1) / sharpness


def unsureness(probabilities: Tensor, options: Tensor, sharpness: float) -> Tensor:
    """Return (1 - smooth maximum) / (1 - 1 / options), clamped to [0, 1]: 0 if sure, near 1 if all are equal: [B].

    `options` [B] are at least 2. The smooth maximum's excess can only lower it, never below 0. Source: AdUE.
    """
    largest = 1 - 1 / options.to(probabilities.dtype)
    return ((1 - smooth_maximum(probabilities, options, sharpness)) / largest).clamp(0, 1)
