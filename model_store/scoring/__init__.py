"""From a question to tokens to candidate logits; one file per kind of scoring."""

from __future__ import annotations

from uq4ct.model_store.scoring.cloze import ClozeScorer
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.model_store.scoring.letter import LetterScorer

Scorer = LetterScorer | ClozeScorer


def build_scorer(config: LetterConfig | ClozeConfig, encoder: TextEncoder, window: int) -> Scorer:
    """Build a configuration's scorer for a base model with a context window of `window` tokens.

    `encoder` is the base model's; scorers can share it.
    """
    if isinstance(config, LetterConfig):
        return LetterScorer(config, encoder, window)
    return ClozeScorer(config, encoder, window)
