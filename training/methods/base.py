"""What a method is: trained by gradient steps, or fitted afterwards on runs of one that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from uq4ct.model_store.adapted_model import AdaptedModel, CandidateOutput
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors import PosteriorConfig
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.training.data.batches import TrainingBatch, TrainingQuestion
from uq4ct.training.losses import LossConfig, cross_entropy

VARIATION_PREFIX = "variation."  # of a variation's parameters among a run's tensors


class FittingError(UserError, ValueError):
    """A method that cannot be fitted on the questions at hand; the message says what they lack."""


class NoOptions(Frozen):
    """The options of a method that has none of its own."""


class Variation(nn.Module, ABC):
    """Noise in the weights during training, with one trained parameter for each bank: a bank call.

    `values` are the parameters' starts by the place of their bank; a run stores them as `variation.{place}.{name}`.
    `learning_rate` is the peak of theirs (None = the optimizer's), `kl_weight` the coefficient of the divergence. In
    evaluation mode the mean of the weights runs. Noise comes from torch's own source on the device of the inputs, whose
    state a run's resume point holds.
    """

    def __init__(
        self, name: str, values: Mapping[str, Tensor], *, learning_rate: float | None = None, kl_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.kl_weight = kl_weight
        self._name = name
        # Places have dots, which names in a module must not have.
        self._keys = {place: place.replace(".", "/") for place in values}
        self._placed = nn.ParameterDict({key: nn.Parameter(values[place]) for place, key in self._keys.items()})

    def at(self, place: str) -> nn.Parameter:
        """The parameter of a bank."""
        return self._placed[self._keys[place]]

    def tensors(self) -> dict[str, nn.Parameter]:
        """Every parameter by the name under which it is stored."""
        return {f"{VARIATION_PREFIX}{place}.{self._name}": self.at(place) for place in self._keys}

    @abstractmethod
    def forward(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Do what a bank call does, for inputs [B, T, in]."""

    @abstractmethod
    def kl(self) -> Tensor:
        """The divergence of the weights' distribution from its prior, in nats."""


@dataclass(frozen=True, slots=True)
class LossTerms:
    """One forward's share of a step's loss: `total` is what gradients start from, `parts` what the log shows."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Forward:
    """What a loss is made of: one forward of an optimizer step (counted from 1) and the run it belongs to."""

    output: CandidateOutput
    batch: TrainingBatch
    adapter: AdapterConfig
    loss: LossConfig
    step: int
    train_questions: int
    model: AdaptedModel
    variation: Variation | None


@dataclass(frozen=True, slots=True)
class Finished:
    """What a method leaves: a posterior and the stored tensors, the adapter's own and those of `posterior.`."""

    posterior: PosteriorConfig
    tensors: dict[str, Tensor]


def finish_point(tensors: Mapping[str, Tensor], options: Any, seed: int) -> Finished:
    """The trained weights as they are."""
    return Finished(PointConfig(), dict(tensors))


@dataclass(frozen=True, slots=True)
class TrainedMethod:
    """A method of gradient steps; stateless, so that a run is fixed by its configuration.

    `check` raises ValueError, naming the field, if the method cannot train such an adapter with such a loss;
    `variation` makes the noise of a model, and `finish` turns the kept tensors, those of the variation among them, into
    what is stored; the seed of the run is that of the posterior's draws.
    """

    check: Callable[[AdapterConfig, LossConfig], None]
    losses: Callable[[Forward], LossTerms]
    options: type[Frozen] = NoOptions
    variation: Callable[[AdaptedModel, Any], Variation] | None = None
    finish: Callable[[Mapping[str, Tensor], Any, int], Finished] = finish_point


@dataclass(frozen=True, slots=True)
class Need:
    """A run that a method is fitted on: of which method, and how far its seed is from the configuration's."""

    method: str
    seed_offset: int = 0


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a method is fitted on: the weights of the runs it needs and the questions of their data.

    `model` has the first run's weights; it may be given others and must be left with its parameters' shapes. `weights`
    has the kept tensors of each run, `snapshots` those that the first run kept on its way, the last its end.
    """

    model: AdaptedModel
    weights: Sequence[Mapping[str, Tensor]]
    snapshots: Sequence[Mapping[str, Tensor]]
    train: Sequence[TrainingQuestion]
    fit: Sequence[TrainingQuestion]
    batch_tokens: int
    seed: int
    console: Console


def any_run(adapter: AdapterConfig, loss: LossConfig, snapshots: int, options: Any) -> None:
    """The check of a method that can be fitted on whatever the methods it needs can train."""


@dataclass(frozen=True, slots=True)
class PostHocMethod:
    """A method without gradient steps of its own; `needs` says on which runs, by its options.

    `check` raises ValueError, naming the field, if it cannot be fitted on such an adapter, trained with such a loss
    and this many snapshots, with such options.
    """

    options: type[Frozen]
    needs: Callable[[Any], Sequence[Need]]
    fit: Callable[[Fitting, Any], Finished]
    check: Callable[[AdapterConfig, LossConfig, int, Any], None] = any_run


Method = TrainedMethod | PostHocMethod


def one_lora(options: Any) -> Sequence[Need]:
    """The need of one run of plain LoRA."""
    return (Need("lora"),)


def mean_cross_entropy(forward: Forward) -> Tensor:
    """The forward's share of the mean cross entropy over the step's trained questions; held-out ones do not count."""
    batch = forward.batch
    values = cross_entropy(forward.output.logits, batch.answers)
    return torch.where(batch.held_out, 0.0, values).sum() / batch.step_trained
