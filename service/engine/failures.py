"""Why the engine did not answer a question."""

from __future__ import annotations


class QueueFullError(RuntimeError):
    """More questions than the engine admits; worth trying again in `retry_after` seconds."""

    def __init__(self, limit: int, retry_after: int) -> None:
        super().__init__(f"{limit} questions are already admitted")
        self.limit = limit
        self.retry_after = retry_after


class NotReadyError(RuntimeError):
    """The adapter is not loaded yet, or could not be loaded."""


class DrainingError(RuntimeError):
    """The process is on its way out and takes nothing new."""


class ForwardFailedError(RuntimeError):
    """The forward of this question's batch raised, or gave an answer that must not be served."""


class BudgetTooSmallError(ValueError):
    """MAX_BATCH_TOKENS cannot hold a question that the adapter allows."""
