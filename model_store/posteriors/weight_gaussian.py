"""A Gaussian on every weight of A around the stored one; B is fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.posteriors.draws import BankDraws, DrawnRecord, generator
from uq4ct.model_store.posteriors.samples import STORED_PREFIX


class GaussianConfig(DrawnRecord):
    """S draws of every A; the standard deviations are stored beside the adapter."""

    kind: Literal["gaussian"] = "gaussian"
    samples: int = Field(ge=1, description="S, the number of draws")
    seed: int = Field(ge=0, description="of the draws")

    def draw(self, place: str, tensors: Mapping[str, Tensor]) -> BankDraws:
        """Return A + std * epsilon_s, with one std per weight, [N * r, in], or per rank, [N * r, 1]."""
        mean, std = tensors[f"{place}.A"].float(), tensors[std_name(place)].float()
        noise = torch.randn(self.samples, *mean.shape, generator=generator(self.seed, place))
        return BankDraws(mean + std * noise, tensors[f"{place}.B"].float())


def std_name(place: str) -> str:
    """Return the stored name of a bank's standard deviations."""
    return f"{STORED_PREFIX}{place}.std"
