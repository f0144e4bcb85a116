"""An adapter on its base model with its scoring: maps token batches to candidate logits and routing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.context import BankCall, TokenwiseCall, adapter_forward
from uq4ct.model_store.adapters.router import Routing
from uq4ct.model_store.adapters.segments import Segments
from uq4ct.model_store.adapters.stored_weights import check_fit, fill_frozen
from uq4ct.model_store.adapters.tuner import MixtureTuner
from uq4ct.model_store.base.attention import GROUPED_ATTENTION, AttentionGroups
from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.scoring import Scorer, build_scorer
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder, TokenBatch
from uq4ct.model_store.scoring.packing import pack
from uq4ct.model_store.uncertainty.functional import functional_uncertainty

SCORING_PREFIX = "scoring."


@dataclass(frozen=True, slots=True)
class CandidateOutput:
    """The output of a forward.

    `logits` [B, C] are in fp32, -inf where a question has no such option; `feu` [B] is equation 9; `routing` holds each
    layer's routing of the N real tokens, row by row: [N, ...]. `feu` and `routing` are None without routers.
    """

    logits: Tensor
    feu: Tensor | None
    routing: tuple[Routing, ...] | None


class AdaptedModel(nn.Module):
    """A named adapter on a base model that other adapters may share.

    Raises:
        ValueError: the base model's attention is not the one that separates questions packed into one row.
    """

    def __init__(self, tuner: MixtureTuner, adapter: str, scorer: Scorer, config: AdapterConfig) -> None:
        super().__init__()
        attention = tuner.model.config._attn_implementation
        if attention != GROUPED_ATTENTION:
            raise ValueError(f"the base model's attention is {attention!r}, not {GROUPED_ATTENTION!r}")
        self.tuner = tuner
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

    def freeze(self) -> None:
        """Prepare for inference: evaluation mode, no gradients, experts in the base model's dtype."""
        if self.tuner.model.training:
            self.eval()  # walks through all adapters of the base model
        self.training = self.tuner.training = False
        self.tuner.freeze(self.adapter)
        self.scorer.requires_grad_(False).eval()

    def forward(self, batch: TokenBatch, through: BankCall | None = None) -> CandidateOutput:
        """Score the candidates of a batch on this model's device; `through` replaces the calls of the expert banks."""
        hidden, routing = self.decode(batch, through)
        return self.output(batch, self._logits(batch, hidden), routing)

    def forward_with_features(self, batch: TokenBatch) -> tuple[CandidateOutput, Tensor]:
        """Run the forward and also return the features of each candidate, [B, C, d] in fp32."""
        hidden, routing = self.decode(batch)
        output = self.output(batch, self._logits(batch, hidden), routing)
        return output, self.scorer.features(hidden, batch)

    def decode(
        self, batch: TokenBatch, through: BankCall | None = None, segments: Segments | None = None
    ) -> tuple[Tensor, tuple[Routing, ...]]:
        """Return the final hidden states [B, T, d] and each layer's routing of the real tokens, [N, ...].

        Args:
            segments: the adapters of the batch's N real tokens, if they are several.
        """
        if through is None or isinstance(through, TokenwiseCall):
            packed = pack(batch, 1 if through is None else through.parts)
            with adapter_forward(self.adapter, through, segments) as context:
                hidden = self._run(packed.tokens, packed.positions, packed.mask, packed.attention)
            return packed.unpack(hidden), tuple(layer.of_tokens((0, packed.kept)) for layer in context.layers())
        with adapter_forward(self.adapter, through) as context:
            hidden = self._run(batch.tokens, batch.positions, batch.attention_mask())
        return hidden, tuple(layer.of_tokens(batch.real) for layer in context.layers())

    def output(self, batch: TokenBatch, logits: Tensor, routing: tuple[Routing, ...]) -> CandidateOutput:
        """Return the output of a forward with these logits [B, C] and this routing."""
        if not routing:
            return CandidateOutput(logits, None, None)
        masses = torch.stack([layer.kept_mass for layer in routing])  # [L, N]
        blank = masses.new_zeros(len(routing), *batch.tokens.shape)
        kept_mass = blank.masked_scatter(batch.real, masses)  # [L, B, T]
        return CandidateOutput(logits, functional_uncertainty(kept_mass, self._feu_tokens(batch)), routing)

    def _run(self, tokens: Tensor, positions: Tensor, mask: Tensor, groups: AttentionGroups | None = None) -> Tensor:
        output = self.tuner.model.get_decoder()(
            input_ids=tokens, position_ids=positions, attention_mask=mask, groups=groups, use_cache=False
        )
        return output.last_hidden_state

    def _logits(self, batch: TokenBatch, hidden: Tensor) -> Tensor:
        return self.scorer(hidden, batch, self.tuner.model.get_output_embeddings())

    def _feu_tokens(self, batch: TokenBatch) -> Tensor:
        return batch.real if self.config.feu_tokens == "prompt_and_options" else batch.real & ~batch.is_option


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
    tuner = MixtureTuner(base.model) if tuner is None else tuner
    tuner.add(adapter, config)
    return AdaptedModel(tuner, adapter, scorer, config)
