"""S sets of weights in one forward: the rows of a batch are repeated for each set.

A posterior that samples weights is a function from stored tensors to the sets; the file of each kind defines it.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.adapters.context import TokenwiseCall
from uq4ct.model_store.posteriors.samples import STORED_PREFIX, CandidateSamples, PosteriorRecord

if TYPE_CHECKING:
    from uq4ct.model_store.adapted_model import AdaptedModel
    from uq4ct.model_store.adapters.expert_bank import ExpertBank
    from uq4ct.model_store.token_batch import TokenBatch


@dataclass(frozen=True, slots=True)
class BankDraws:
    """The weights of one expert bank in every set: `A` [S, N * r, in], `B` [S, out, N * r] or, shared, [out, N * r]."""

    A: Tensor
    B: Tensor

    @property
    def memory_bytes(self) -> int:
        """Memory of both, in bytes."""
        return self.A.nbytes + self.B.nbytes

    def to(self, device: torch.device, dtype: torch.dtype) -> BankDraws:
        """Return the same weights on another device or in another dtype."""
        return BankDraws(self.A.to(device, dtype), self.B.to(device, dtype))


class WeightDraws(TokenwiseCall):
    """A bank call that runs row s * B + b of a batch through the weights of set s; each set's rows form a part."""

    def __init__(self, banks: Mapping[str, BankDraws]) -> None:
        self._banks = dict(banks)
        self.parts = self.samples = len(next(iter(banks.values())).A)

    @property
    def memory_bytes(self) -> int:
        """Memory of all sets, in bytes."""
        return sum(draws.memory_bytes for draws in self._banks.values())

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move all sets to a device and a dtype."""
        self._banks = {place: draws.to(device, dtype) for place, draws in self._banks.items()}

    def __call__(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Map [1, S * N, in] to [1, S * N, out], N the tokens of the B rows."""
        draws = self._banks[place]
        low_rank = torch.bmm(self._by_set(inputs), draws.A.mT)  # [S, N, experts * r]
        low_rank = bank.gate(low_rank.view(*inputs.shape[:-1], -1), gates)
        # Broadcasting B makes no copy.
        expanded = draws.B.expand(self.samples, -1, -1).mT
        added = torch.baddbmm(self._by_set(base_output), self._by_set(low_rank), expanded)
        return added.view_as(base_output)

    def _by_set(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.samples, -1, rows.shape[-1])


class DrawnPosterior:
    """A posterior of S sets of weights. `scales` [S] multiplies the logits of each set; None leaves them unchanged."""

    def __init__(self, draws: WeightDraws, scales: Tensor | None = None) -> None:
        self._draws = draws
        self._scales = scales

    @property
    def samples(self) -> int:
        """S."""
        return self._draws.samples

    @property
    def memory_bytes(self) -> int:
        """Memory of the sets of weights, in bytes."""
        return self._draws.memory_bytes + (0 if self._scales is None else self._scales.nbytes)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the sets of weights to a device and a dtype, and the scales to the device."""
        self._draws.place(device, dtype)
        self._scales = None if self._scales is None else self._scales.to(device)

    @torch.inference_mode()
    def candidate_samples(self, model: AdaptedModel, batch: TokenBatch) -> CandidateSamples:
        """Score the batch under every set; FEU is the mean over the sets."""
        output = model(batch.repeat(self.samples), self._draws)
        logits = output.logits.unflatten(0, (self.samples, -1))
        if self._scales is not None:
            logits = logits * self._scales.to(logits.dtype).view(-1, 1, 1)
        feu = None if output.feu is None else output.feu.unflatten(0, (self.samples, -1)).mean(dim=0)
        return CandidateSamples(logits, feu)


class DrawnRecord(PosteriorRecord, ABC):
    """Abstract: a posterior of S sets of weights, and how they are drawn."""

    samples: int = Field(ge=1, description="S, the number of sets")

    @property
    def passes(self) -> int:
        """The cost of a question, in rows of a forward."""
        return self.samples

    def build(self, tensors: Mapping[str, Tensor]) -> DrawnPosterior:
        """Build the posterior from an adapter's stored tensors."""
        draws = WeightDraws({place: self.draw(place, tensors) for place in bank_places(tensors)})
        return DrawnPosterior(draws, self.scales(tensors))

    @abstractmethod
    def draw(self, place: str, tensors: Mapping[str, Tensor]) -> BankDraws:
        """Return the weights of one bank in every set."""

    def scales(self, tensors: Mapping[str, Tensor]) -> Tensor | None:  # noqa: ARG002
        """Return the factor of the logits of each set, [S]; None leaves them unchanged."""
        return None


def bank_places(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the places of the expert banks among an adapter's stored tensors."""
    own = (name for name in sorted(tensors) if not name.startswith(STORED_PREFIX))
    return (name.removesuffix(".A") for name in own if name.endswith(".experts.A"))


def generator(seed: int, place: str) -> torch.Generator:
    """Return the generator of a place's random numbers, on the CPU, so that they are the same on every device."""
    digest = hashlib.sha256(f"{seed}/{place}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
