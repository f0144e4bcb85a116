"""From a question to tokens to candidate logits; one file per kind of scoring."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from uq4ct.model_store.scoring.cloze import ClozeScorer
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder, TokenBatch
from uq4ct.model_store.scoring.letter import LetterScorer

Scorer = LetterScorer | ClozeScorer


def build_scorer(config: LetterConfig | ClozeConfig, encoder: TextEncoder, window: int) -> Scorer:
    """Build a configuration's scorer for a base model with a context window of `window` tokens.

    `encoder` is the base model's; scorers can share it.
    """
    if isinstance(config, LetterConfig):
        return LetterScorer(config, encoder, window)
    return ClozeScorer(config, encoder, window)


def score_together(
    scorers: Sequence[Scorer], questions: Sequence[int], hidden: Tensor, batch: TokenBatch, head: nn.Linear
) -> Tensor:
    """Return the candidate logits [B, C] of scorers with the same company, each for its own run of questions."""
    first = scorers[0]
    if isinstance(first, LetterScorer):
        return first(hidden, batch, head)
    scales = [
        scorer.log_scale.exp().expand(count, 1)
        for scorer, count in zip(scorers, questions, strict=True)
        if isinstance(scorer, ClozeScorer)
    ]
    return first(hidden, batch, head, torch.cat(scales))
