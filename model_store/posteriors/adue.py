"""AdUE: the run's own head, tuned on frozen features to tell errors, then read as a probability of error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from pydantic import Field, FiniteFloat
from torch import Tensor

from uq4ct.model_store.posteriors.samples import STORED_PREFIX
from uq4ct.model_store.posteriors.scored import ErrorScore, ScoredPosterior, ScoredRecord
from uq4ct.model_store.uncertainty.binary_platt import BinaryPlatt
from uq4ct.model_store.uncertainty.smooth_maximum import unsureness

HEAD = f"{STORED_PREFIX}head"


class AdueConfig(ScoredRecord):
    """The point posterior; its error score is a calibrated probability that the answer is wrong.

    Stored is `posterior.head`, what was added to the head: [C, d], a row for each letter, or [d] for all options.
    """

    kind: Literal["adue"] = "adue"
    error_score: Literal["probability"] = Field(default="probability", description="its meaning: of a wrong answer")
    sharpness: FiniteFloat = Field(gt=0, description="lambda of the smooth maximum")
    slope: FiniteFloat = Field(ge=0, description="on the log-odds of the head's own score")
    intercept: FiniteFloat

    def build(self, tensors: Mapping[str, Tensor]) -> ScoredPosterior:
        """The posterior."""
        platt = BinaryPlatt(self.slope, self.intercept)
        return ScoredPosterior(AdueScore(tensors[HEAD].float(), self.sharpness, platt))


class AdueScore(ErrorScore):
    """The probability of error: Platt's line on the tuned head's unsureness."""

    def __init__(self, head: Tensor, sharpness: float, platt: BinaryPlatt) -> None:
        super().__init__()
        self.register_buffer("head", head)
        self.head: Tensor
        self._sharpness = sharpness
        self._platt = platt

    def forward(self, logits: Tensor, features: Tensor, options: Tensor) -> Tensor:
        """See `ErrorScore`."""
        return self._platt.apply(head_unsureness(self.head, logits, features, options, self._sharpness)).float()


def head_unsureness(head: Tensor, logits: Tensor, features: Tensor, options: Tensor, sharpness: float) -> Tensor:
    """U in [0, 1] of the tuned head's probabilities: float64 [B]."""
    probabilities = adjusted_logits(head, logits, features).softmax(dim=-1)
    return unsureness(probabilities, options, sharpness)


def adjusted_logits(head: Tensor, logits: Tensor, features: Tensor) -> Tensor:
    """The logits [B, C] of a head that `head` was added to, in float64; a head of 0 leaves them.

    Letters have rows [C, d]: the logits are those of the copied rows of the language-model head plus these, which is
    AdUE's classifier. Options [d] share one direction, logit_c + w . f_c: our generalisation to likelihoods of texts,
    which no rows stand for. Letters beyond the rows were not seen in fitting and keep their logits.
    """
    rows = head
    if head.dim() == 2:
        missing = max(0, features.shape[1] - len(head))
        rows = F.pad(head, (0, 0, 0, missing))[: features.shape[1]]
    return logits.double() + (features * rows).sum(dim=-1).double()
