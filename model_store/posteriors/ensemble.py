"""An ensemble: M adapters that were trained separately, run as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.posteriors.draws import BankDraws, DrawnRecord
from uq4ct.model_store.posteriors.samples import STORED_PREFIX
from uq4ct.model_store.scoring.config import SCORING_PREFIX

SCALE = f"{SCORING_PREFIX}log_scale"


class EnsembleConfig(DrawnRecord):
    """M members; the first is the adapter itself, the others are stored beside it."""

    kind: Literal["ensemble"] = "ensemble"
    samples: int = Field(ge=2, description="M, the number of members")

    def scales(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """Return each member's scale relative to the first one's, under cloze scoring."""
        return (_members(SCALE, tensors) - tensors[SCALE].float()).exp() if SCALE in tensors else None

    def draw(self, place: str, tensors: Mapping[str, Tensor]) -> BankDraws:
        """Return the members' weights of one bank."""
        return BankDraws(_members(f"{place}.A", tensors), _members(f"{place}.B", tensors))


def stack_members(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return an ensemble's stored tensors: the first member's, and the others' stacked [M - 1, ...] under a prefix."""
    first, *others = members
    stacked = {f"{STORED_PREFIX}{name}": torch.stack([other[name] for other in others]) for name in first}
    return dict(first) | stacked


def _members(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([tensors[name].unsqueeze(0), tensors[f"{STORED_PREFIX}{name}"]]).float()
