"""The percentile bootstrap of any statistic, row by row: the reference for the bootstrap of a mean."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.intervals import Interval


def plain_bootstrap(statistic: Callable[[Tensor], float], n: int, draws: int = 1000, seed: int = 0) -> Interval:
    """Return the 95 % interval of a statistic, which gets the indices of n rows drawn with replacement."""
    generator = torch.Generator().manual_seed(seed)
    values = [statistic(torch.randint(n, (n,), generator=generator)) for _ in range(draws)]
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.tensor(values, dtype=torch.float64).quantile(tails).tolist()
    return Interval(low, high)
