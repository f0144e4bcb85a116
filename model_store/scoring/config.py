"""How a question becomes candidate logits; stored in the manifest, since the weights depend on it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from uq4ct.model_store.frozen import Frozen


class LetterConfig(Frozen):
    """All options in the prompt; scores are the logits of the option letters after the last token."""

    kind: Literal["letter"] = Field(default="letter", description="all options in the prompt, one letter each")
    max_tokens: int = Field(default=512, ge=16, description="longest question in tokens; a longer one is an error")


class ClozeConfig(Frozen):
    """The likelihood of each option after the shared question, times a learned scale that starts at 1."""

    kind: Literal["cloze"] = Field(default="cloze", description="the likelihood of each option after the question")
    reduction: Literal["mean", "sum"] = Field(default="mean", description="over the tokens of an option")
    max_tokens: int = Field(default=512, ge=16, description="longest question with all its options, in tokens")


SCORING_PREFIX = "scoring."  # of the tensors of a scorer among those of an adapter

ScoringConfig = Annotated[LetterConfig | ClozeConfig, Field(discriminator="kind")]
