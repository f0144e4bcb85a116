"""What a training method is: which adapters it takes, and its loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model_store.adapters.config import AdapterConfig
from model_store.candidate_model import CandidateOutput
from training.batches import TrainingBatch
from training.loss_config import LossConfig
from training.losses import cross_entropy


@dataclass(frozen=True, slots=True)
class LossTerms:
    """One forward's share of a step's loss: `total` is what gradients start from, `parts` what the log shows."""

    total: Tensor
    parts: dict[str, Tensor]


class Method(Protocol):
    """A way of training; stateless, so that a run is fixed by its configuration."""

    def check(self, adapter: AdapterConfig, loss: LossConfig) -> None:
        """Raise ValueError, naming the field, if the method cannot train such an adapter with such a loss."""
        ...

    def losses(
        self, output: CandidateOutput, batch: TrainingBatch, adapter: AdapterConfig, loss: LossConfig, step: int
    ) -> LossTerms:
        """The loss of one forward in optimizer step `step`, counted from 1."""
        ...


def mean_cross_entropy(output: CandidateOutput, batch: TrainingBatch) -> Tensor:
    """The forward's share of the mean cross entropy over the step's trained questions; held-out ones do not count."""
    values = cross_entropy(output.logits, batch.answers)
    return torch.where(batch.held_out, 0.0, values).sum() / batch.step_trained
