"""The bounds of an engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an engine takes at once, and how long a question may take."""

    questions: int  # admitted and not yet answered
    tokens: int  # of the admitted questions, once for each pass
    batch_tokens: int  # of one forward, once for each pass; of one question, its own
    adapter_bytes: int  # of all loaded adapters
    seconds: float  # from admission to answer
