"""The limits of an engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work an engine admits at once, and how long a question may take."""

    questions: int  # admitted, without an answer yet
    tokens: int  # of the admitted questions, counted once per pass
    batch_tokens: int  # of one forward, counted once per pass; of one question, counted once
    adapter_bytes: int  # of all loaded adapters
    seconds: float  # from admission to answer
