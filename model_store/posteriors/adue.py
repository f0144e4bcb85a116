"""AdUE: the run's own head, tuned on frozen features to detect errors, and calibrated to a probability of error."""

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

    `posterior.head` stores what was added to the head: [C, d], one row per letter, or [d] for all options.
    """

    kind: Literal["adue"] = "adue"
    error_score: Literal["probability"] = Field(default="probability", description="probability of a wrong answer")
    sharpness: FiniteFloat = Field(gt=0, description="lambda of the smooth maximum")
    slope: FiniteFloat = Field(ge=0, description="on the log-odds of the head's own score")
    intercept: FiniteFloat

    def build(self, tensors: Mapping[str, Tensor]) -> ScoredPosterior:
        """Build the posterior."""
        platt = BinaryPlatt(self.slope, self.intercept)
        return ScoredPosterior(AdueScore(tensors[HEAD].float(), self.sharpness, platt))


class AdueScore(ErrorScore):
    """The probability of error: Platt scaling of the tuned head's unsureness."""

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
    """Return the unsureness U in [0, 1] of the tuned head's probabilities: float64 [B]."""
    probabilities = adjusted_logits(head, logits, features).softmax(dim=-1)
    return unsureness(probabilities, options, sharpness)


def adjusted_logits(head: Tensor, logits: Tensor, features: Tensor) -> Tensor:
    """Return the logits [B, C] after adding `head` to the model's head, in float64; a `head` of 0 changes nothing.

    For letter scoring `head` is [C, d] and is added to the letters' rows of the language-model head, as in AdUE's
    classifier. For cloze scoring all options share one direction [d], logit_c + w . f_c: our generalisation to
    likelihoods of texts, which have no rows in the head. Letters beyond C did not occur in fitting; their logits stay.
    """
    rows = head
    if head.dim() == 2:
        missing = max(0, features.shape[1] - len(head))
        rows = F.pad(head, (0, 0, 0, missing))[: features.shape[1]]
    return logits.double() + (features * rows).sum(dim=-1).double()
