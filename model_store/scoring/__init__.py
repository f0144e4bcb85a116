"""From a question to tokens to candidate logits; one file per kind of scoring."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uq4ct.model_store.base.head import OutputHead
from uq4ct.model_store.scoring.cloze import ClozePlan, ClozeScorer
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.model_store.scoring.letter import LetterPlan, LetterScorer

Scorer = LetterScorer | ClozeScorer
ScoringPlan = LetterPlan | ClozePlan


def build_scorer(config: LetterConfig | ClozeConfig, encoder: TextEncoder, window: int) -> Scorer:
    """Build a configuration's scorer for a base model with a context window of `window` tokens.

    `encoder` is the base model's; scorers can share it.
    """
    if isinstance(config, LetterConfig):
        return LetterScorer(config, encoder, window)
    return ClozeScorer(config, encoder, window)


def score_together(
    scorers: Sequence[Scorer], questions: Sequence[int], hidden: Tensor, plan: ScoringPlan, head: OutputHead
) -> Tensor:
    """Return the candidate logits [B, C] of scorers with the same company, each for its own run of questions."""
    first = scorers[0]
    if isinstance(first, LetterScorer):
        return first(hidden, plan, head)
    scales = [
        scorer.log_scale.exp().expand(count, 1)
        for scorer, count in zip(scorers, questions, strict=True)
        if isinstance(scorer, ClozeScorer)
    ]
    return first(hidden, plan, head, torch.cat(scales))
