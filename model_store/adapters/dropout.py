"""Inverted dropout that draws a quarter of a random number per element."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


class WordDropout(nn.Module):
    """Sets a share of its input to zero in training and scales the rest to keep the mean.

    On a CPU, drawing a Bernoulli number for every element costs more than the low-rank product it feeds. Here one
    64-bit draw decides four elements by 16 bits each, which rounds the share to a multiple of 2 ** -16.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._dropped = round(share * _LEVELS)

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop elements of a tensor of any shape."""
        if not self.training or self._dropped == 0:
            return inputs
        draws = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64, device=inputs.device)
        words = draws.random_(-(2**63), None).view(torch.int16)[: inputs.numel()].view(inputs.shape)
        kept = words >= self._dropped - _LEVELS // 2
        return inputs * kept.to(inputs.dtype).mul_(_LEVELS / (_LEVELS - self._dropped))
