"""Masks on the ranks of an update: rank j of B A is kept with its own probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.posteriors.draws import BankDraws, DrawnRecord, generator
from uq4ct.model_store.posteriors.samples import STORED_PREFIX


class RankMaskConfig(DrawnRecord):
    """S masks of every bank; their probabilities are stored beside the adapter."""

    kind: Literal["rank_mask"] = "rank_mask"
    samples: int = Field(ge=1, description="S, the number of masks")
    seed: int = Field(ge=0, description="of the masks")

    def draw(self, place: str, tensors: Mapping[str, Tensor]) -> BankDraws:
        """Return A with the rows of dropped ranks set to zero and the others unscaled: B diag(z) A."""
        probability = tensors[gate_name(place)].float()
        kept = torch.rand(self.samples, len(probability), generator=generator(self.seed, place)) < probability
        return BankDraws(tensors[f"{place}.A"].float() * kept.unsqueeze(-1), tensors[f"{place}.B"].float())


def gate_name(place: str) -> str:
    """Return the stored name of a bank's probabilities [N * r]."""
    return f"{STORED_PREFIX}{place}.gate_probability"
