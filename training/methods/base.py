"""The two kinds of method: trained by gradient steps, or fitted afterwards on runs of a trained one."""

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

VARIATION_PREFIX = "variation."  # marks the parameters of a variation among the tensors of a run


class FittingError(UserError, ValueError):
    """A method cannot be fitted on the given questions; the message says what they lack."""


class NoOptions(Frozen):
    """The options of a method that has none of its own."""


class Variation(nn.Module, ABC):
    """Noise in the weights during training, with one trained parameter per bank; a bank call.

    `values` are the initial parameters by the place of their bank; a run stores them as `variation.{place}.{name}`.
    `learning_rate` is their peak (None = the optimizer's), `kl_weight` the coefficient of the divergence. Evaluation
    mode uses the mean of the weights. Noise comes from torch's default generator on the device of the inputs; a run's
    resume point contains its state.
    """

    def __init__(
        self, name: str, values: Mapping[str, Tensor], *, learning_rate: float | None = None, kl_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.kl_weight = kl_weight
        self._name = name
        # Places contain dots, which parameter names in a module must not.
        self._keys = {place: place.replace(".", "/") for place in values}
        self._placed = nn.ParameterDict({key: nn.Parameter(values[place]) for place, key in self._keys.items()})

    def at(self, place: str) -> nn.Parameter:
        """The parameter of a bank."""
        return self._placed[self._keys[place]]

    def tensors(self) -> dict[str, nn.Parameter]:
        """Every parameter by its stored name."""
        return {f"{VARIATION_PREFIX}{place}.{self._name}": self.at(place) for place in self._keys}

    @abstractmethod
    def forward(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Return the output of the bank for inputs [B, T, in], as a bank call."""

    @abstractmethod
    def kl(self) -> Tensor:
        """The divergence of the weights' distribution from its prior, in nats."""


@dataclass(frozen=True, slots=True)
class LossTerms:
    """One forward's share of a step's loss: `total` is differentiated, `parts` are logged."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Forward:
    """The inputs of a loss: one forward of an optimizer step (counted from 1) and the run it belongs to."""

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
    """The result of a method: a posterior and the stored tensors, the adapter's own and those under `posterior.`."""

    posterior: PosteriorConfig
    tensors: dict[str, Tensor]


def finish_point(tensors: Mapping[str, Tensor], options: Any, seed: int) -> Finished:
    """Return the trained weights unchanged."""
    return Finished(PointConfig(), dict(tensors))


@dataclass(frozen=True, slots=True)
class TrainedMethod:
    """A method trained by gradient steps; stateless, so that a run is determined by its configuration.

    `check` raises ValueError, naming the field, if the method cannot train such an adapter with such a loss;
    `variation` makes the noise of a model. `finish` turns the kept tensors, including those of the variation, into what
    is stored; it gets the run's seed for the posterior's draws.
    """

    check: Callable[[AdapterConfig, LossConfig], None]
    losses: Callable[[Forward], LossTerms]
    options: type[Frozen] = NoOptions
    variation: Callable[[AdaptedModel, Any], Variation] | None = None
    finish: Callable[[Mapping[str, Tensor], Any, int], Finished] = finish_point


@dataclass(frozen=True, slots=True)
class Need:
    """A run that a method is fitted on: its method, and the offset of its seed from the configuration's."""

    method: str
    seed_offset: int = 0


@dataclass(frozen=True, slots=True)
class Fitting:
    """The inputs of fitting a method: the weights of the runs it needs, and the questions of their data.

    `model` has the first run's weights; they may be replaced by others of the same shapes. `weights` has the kept
    tensors of each run, `snapshots` those of the first run's snapshots, the last at its end.
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
    """Accept every configuration that the needed methods can train."""


@dataclass(frozen=True, slots=True)
class PostHocMethod:
    """A method fitted on finished runs, without gradient steps of its own; `needs` names these runs, given its options.

    `check` raises ValueError, naming the field, if it cannot be fitted on such an adapter, trained with such a loss
    and this many snapshots, with such options.
    """

    options: type[Frozen]
    needs: Callable[[Any], Sequence[Need]]
    fit: Callable[[Fitting, Any], Finished]
    check: Callable[[AdapterConfig, LossConfig, int, Any], None] = any_run


Method = TrainedMethod | PostHocMethod


def one_lora(options: Any) -> Sequence[Need]:
    """Return the need of one plain LoRA run."""
    return (Need("lora"),)


def mean_cross_entropy(forward: Forward) -> Tensor:
    """Return the forward's share of the mean cross entropy over the step's trained questions, without held-out ones."""
    batch = forward.batch
    values = cross_entropy(forward.output.logits, batch.answers)
    return torch.where(batch.held_out, 0.0, values).sum() / batch.step_trained
