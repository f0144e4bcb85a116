"""An adapter on its base model with its scoring: maps token batches to candidate logits and routing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.context import BankCall, RowQuestions, TokenwiseCall, adapter_forward
from uq4ct.model_store.adapters.router import Routing
from uq4ct.model_store.adapters.segments import Segments
from uq4ct.model_store.adapters.stored_weights import check_fit, fill_frozen
from uq4ct.model_store.adapters.tuner import MixtureTuner
from uq4ct.model_store.base.head import head_of
from uq4ct.model_store.base.layouts import Layout, pack, pad, run_decoder, spread
from uq4ct.model_store.index_plan import IndexPlan
from uq4ct.model_store.scoring import Scorer, ScoringPlan, build_scorer
from uq4ct.model_store.scoring.config import SCORING_PREFIX, ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.model_store.token_batch import TokenBatch
from uq4ct.model_store.uncertainty.functional import functional_uncertainty

if TYPE_CHECKING:
    from uq4ct.model_store.base.models import BaseModel


@dataclass(frozen=True, slots=True)
class CandidateOutput:
    """The output of a forward.

    `logits` [B, C] are in fp32, -inf where a question has no such option; `feu` [B] is equation 9; `routing` holds each
    layer's routing of the N real tokens, row by row: [N, ...]. `feu` and `routing` are None without routers.
    """

    logits: Tensor
    feu: Tensor | None
    routing: tuple[Routing, ...] | None


@dataclass(frozen=True, slots=True)
class ForwardPlan(IndexPlan):
    """Every index that a forward of a batch [B, T] uses.

    `places` [N] are the indices of the real tokens in B * T; `counted` [B, T] is 1 at the tokens that FEU counts.
    """

    layout: Layout
    scoring: ScoringPlan
    places: Tensor
    counted: Tensor


class AdaptedModel(nn.Module):
    """A named adapter on a base model that other adapters may share."""

    def __init__(self, tuner: MixtureTuner, adapter: str, scorer: Scorer, config: AdapterConfig) -> None:
        super().__init__()
        self.tuner = tuner
        self.head = head_of(tuner.model)
        self.adapter = adapter
        self.scorer = scorer
        self.config = config

    @property
    def device(self) -> torch.device:
        """The device of the base model."""
        return self.tuner.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the base model."""
        return self.tuner.model.dtype

    def adapter_tensors(self) -> dict[str, nn.Parameter]:
        """All trained weights by stored name: the adapter's and the scoring's."""
        return self.tuner.adapter_parameters(self.adapter) | scoring_tensors(self.scorer)

    def load_adapter_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy stored weights into the model.

        Raises:
            ValueError: a name is missing or unknown, or a shape differs; then nothing is copied.
        """
        own = self.adapter_tensors()
        check_fit(own, tensors)
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(tensors[name])

    def train(self, mode: bool = True) -> AdaptedModel:
        """Set the mode of this adapter; the base model is always in evaluation mode, and so are the other adapters.

        Some families have kernels for training that read a linear's weight, past what an adapter adds to it.
        """
        self.training = mode
        self.tuner.train_adapter(self.adapter, mode)
        self.scorer.train(mode)
        return self

    def freeze(self) -> None:
        """Prepare for inference: evaluation mode, no gradients, experts in the base model's dtype."""
        self.training = False
        self.tuner.freeze(self.adapter)
        self.scorer.requires_grad_(False).eval()

    def forward(self, batch: TokenBatch, through: BankCall | None = None) -> CandidateOutput:
        """Score the candidates of a batch; `through` replaces the calls of the expert banks."""
        return self.run(self.plan(batch, through), through)

    def run_with_features(self, plan: ForwardPlan) -> tuple[CandidateOutput, Tensor]:
        """Run the forward of a plan and also return the features of each candidate, [B, C, d] in fp32."""
        hidden, routing = self.decode(plan)
        output = self.output(plan, self._logits(plan, hidden), routing)
        return output, plan.scoring.features(hidden)

    def plan(self, batch: TokenBatch, through: BankCall | None = None) -> ForwardPlan:
        """Return the indices of a forward of the batch, on the model's device; `through` as in `forward`.

        Raises:
            ValueError: a question has no token that FEU counts.
        """
        counted = batch.real if self.config.feu_tokens == "prompt_and_options" else batch.real & ~batch.is_option
        if not bool(counted.any(dim=1).all()):
            raise ValueError("a question of the batch has no token that FEU counts")
        scoring = self.scorer.plan(batch, self.head.vocabulary)
        return ForwardPlan(self._layout(batch, through), scoring, batch.places, counted.long()).to(self.device)

    def run(self, plan: ForwardPlan, through: BankCall | None = None) -> CandidateOutput:
        """Run the forward of a plan that was made for `through`; the device waits for nothing."""
        hidden, routing = self.decode(plan, through)
        return self.output(plan, self._logits(plan, hidden), routing)

    def decode(
        self, plan: ForwardPlan, through: BankCall | None = None, segments: Segments | None = None
    ) -> tuple[Tensor, tuple[Routing, ...]]:
        """Return the final hidden states [N, d] and each layer's routing [N, ...] of the batch's N real tokens.

        Args:
            segments: the adapters of the layout's tokens, if they are several.
        """
        layout = plan.layout
        questions = None if layout.questions is None else RowQuestions(layout.questions, len(layout.question_tokens))
        with adapter_forward(self.adapter, through, segments, questions) as context:
            states = run_decoder(self.tuner.model, layout)
        hidden = states.flatten(0, 1)[layout.kept]
        return hidden, tuple(layer.of_tokens(layout.kept) for layer in context.layers())

    def output(self, plan: ForwardPlan, logits: Tensor, routing: tuple[Routing, ...]) -> CandidateOutput:
        """Return the output of a forward with these logits [B, C] and this routing."""
        if not routing:
            return CandidateOutput(logits, None, None)
        masses = torch.stack([layer.kept_mass for layer in routing])  # [L, N]
        blank = masses.new_zeros(len(routing), plan.counted.numel())
        kept_mass = blank.index_copy(1, plan.places, masses).view(-1, *plan.counted.shape)
        return CandidateOutput(logits, functional_uncertainty(kept_mass, plan.counted.bool()), routing)

    def _layout(self, batch: TokenBatch, through: BankCall | None) -> Layout:
        layout = self.tuner.layout
        if layout == "rows":
            return spread(batch)
        if layout == "packed" and (through is None or isinstance(through, TokenwiseCall)):
            return pack(batch, 1 if through is None else through.parts)
        return pad(batch)

    def _logits(self, plan: ForwardPlan, hidden: Tensor) -> Tensor:
        return self.scorer(hidden, plan.scoring, self.head)


@dataclass(frozen=True, slots=True)
class AdapterParts:
    """An adapter that is not on a base model yet: its weights by stored name, and its scoring."""

    config: AdapterConfig
    weights: Mapping[str, nn.Module]
    scorer: Scorer

    def tensors(self) -> dict[str, nn.Parameter]:
        """All weights by stored name: the adapter's and the scoring's."""
        own = {
            f"{place}.{name}": parameter
            for place, module in self.weights.items()
            for name, parameter in module.named_parameters()
        }
        return own | scoring_tensors(self.scorer)

    def attach(self, tuner: MixtureTuner, adapter: str) -> AdaptedModel:
        """Put the adapter on the base model. Not during a forward.

        Raises:
            ValueError: the name is taken; then nothing changes.
        """
        tuner.attach(adapter, self.weights)
        return AdaptedModel(tuner, adapter, self.scorer, self.config)


def build_frozen(
    tuner: MixtureTuner, config: AdapterConfig, scorer: Scorer, tensors: Mapping[str, Tensor]
) -> AdapterParts:
    """Build an adapter for inference from its stored weights; for any thread, as it does not change the base model.

    Raises:
        ValueError: a target matches nothing, or the weights do not fit.
    """
    parts = AdapterParts(config, tuner.build(config, torch.device("meta")), scorer)
    check_fit(parts.tensors(), tensors)
    model = tuner.model
    fill_frozen(parts.weights, tensors, model.device, model.dtype)
    scorer.to(model.device).requires_grad_(False).eval()
    for name, parameter in scoring_tensors(scorer).items():
        parameter.copy_(tensors[name])
    return parts


def scoring_tensors(scorer: Scorer) -> dict[str, nn.Parameter]:
    """Return the weights of a scoring by stored name."""
    return {f"{SCORING_PREFIX}{name}": parameter for name, parameter in scorer.named_parameters()}


def add_adapter(
    base: BaseModel,
    config: AdapterConfig,
    scoring: LetterConfig | ClozeConfig,
    *,
    adapter: str = "default",
    tuner: MixtureTuner | None = None,
) -> AdaptedModel:
    """Add an adapter with new weights, with a new tuner or beside the adapters of an existing one.

    Raises:
        ValueError: a target matches nothing, or the name is taken.
    """
    scorer = build_scorer(scoring, TextEncoder(base.tokenizer), base.window).to(base.model.device)
    tuner = MixtureTuner(base.model, base.layout) if tuner is None else tuner
    tuner.add(adapter, config)
    return AdaptedModel(tuner, adapter, scorer, config)
