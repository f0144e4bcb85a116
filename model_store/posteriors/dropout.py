"""Monte-Carlo dropout: training's dropout stays on, with S masks that are drawn once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.posteriors.draws import BankDraws, DrawnRecord, generator


class DropoutConfig(DrawnRecord):
    """S masks on the input of every adapted linear, each shared by all tokens of a sequence."""

    kind: Literal["dropout"] = "dropout"
    samples: int = Field(ge=1, description="S, the number of masks")
    share: float = Field(gt=0, lt=1, description="of the inputs that are set to zero")
    seed: int = Field(ge=0, description="of the masks")

    def draw(self, place: str, tensors: Mapping[str, Tensor]) -> BankDraws:
        """Return A with columns set to zero and the others scaled to keep the mean: A (m * x) = (A m) x.

        Source: Gal and Ghahramani 2016, one mask per sequence.
        """
        weight = tensors[f"{place}.A"].float()
        kept = torch.rand(self.samples, 1, weight.shape[1], generator=generator(self.seed, place)) >= self.share
        return BankDraws(weight * kept / (1 - self.share), tensors[f"{place}.B"].float())
