"""Errors of the engine: why it did not answer a question, or load or unload an adapter."""

from __future__ import annotations

from uq4ct.model_store.errors import UserError


class QueueFullError(RuntimeError):
    """The engine is full; retry after `retry_after` seconds."""

    def __init__(self, limit: int, unit: str, retry_after: int) -> None:
        super().__init__(f"queue full (limit: {limit} {unit})")
        self.limit = limit
        self.retry_after = retry_after


class RequestTooLargeError(ValueError):
    """A request with more tokens, over all passes of its questions, than the engine ever admits."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the request has {tokens} tokens, counted once per pass (limit: {limit})")
        self.tokens = tokens
        self.limit = limit


class NotReadyError(RuntimeError):
    """The model is still loading, could not be loaded, or its thread has ended."""


class DrainingError(RuntimeError):
    """The replica is shutting down and takes nothing new."""


class DeadlinePassedError(RuntimeError):
    """The question was not answered in time."""


class ForwardFailedError(RuntimeError):
    """The forward of this question's batch raised, or returned an answer that must not be served."""


class WorkerDiedError(RuntimeError):
    """The thread that owns the model has ended unexpectedly."""


class BudgetTooSmallError(UserError, ValueError):
    """UQ4CT_MAX_BATCH_TOKENS or UQ4CT_MAX_QUEUE_TOKENS is too small for the adapter's longest question."""


class NoRoomError(RuntimeError):
    """UQ4CT_ADAPTER_MEMORY_MB has no room for the adapter beside those that must stay."""


class ModelEvictedError(RuntimeError):
    """The adapter was evicted from memory and may not be loaded again yet; retry after `retry_after` seconds."""

    def __init__(self, reference: str, retry_after: int) -> None:
        super().__init__(
            f"{reference} was evicted from memory, because more adapters are in use than fit, and is not loaded again "
            f"for another {retry_after} seconds"
        )
        self.retry_after = retry_after


class UnknownModelError(LookupError):
    """No adapter is registered under this reference."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no adapter {reference} is registered")


class LoadFailedError(RuntimeError):
    """A registered adapter could not be loaded; `cause` is the reason. Loaded adapters stay loaded."""

    def __init__(self, reference: str, cause: Exception) -> None:
        super().__init__(f"{reference} could not be loaded")
        self.reference = reference
        self.cause = cause


class DefaultModelError(ValueError):
    """The adapter that answers requests without a model cannot be unloaded."""


class StoreUnavailableError(RuntimeError):
    """The model store has not answered in time; its file system may hang."""


class StoreReadOnlyError(RuntimeError):
    """The service cannot write to the model store."""
