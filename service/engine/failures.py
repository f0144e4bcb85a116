"""Why the engine did not answer a question or change what is loaded."""

from __future__ import annotations

from uq4ct.model_store.errors import UserError


class QueueFullError(RuntimeError):
    """More than the engine admits; worth trying again in `retry_after` seconds."""

    def __init__(self, limit: int, unit: str, retry_after: int) -> None:
        super().__init__(f"there is room for {limit} {unit}, and that is taken")
        self.limit = limit
        self.retry_after = retry_after


class RequestTooLargeError(ValueError):
    """A request with more tokens, in all passes of its questions, than the engine ever admits."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the request takes {tokens} tokens, {limit} is the most that is admitted")
        self.tokens = tokens
        self.limit = limit


class NotReadyError(RuntimeError):
    """The adapter is not loaded yet, or could not be loaded, or nothing is left that could answer."""


class DrainingError(RuntimeError):
    """The process is on its way out and takes nothing new."""


class DeadlinePassedError(RuntimeError):
    """The question was not answered in time."""


class ForwardFailedError(RuntimeError):
    """The forward of this question's batch raised, or gave an answer that must not be served."""


class WorkerDiedError(RuntimeError):
    """The thread that owns the model has ended, although it should not."""


class BudgetTooSmallError(UserError, ValueError):
    """UQ4CT_MAX_BATCH_TOKENS or UQ4CT_MAX_QUEUE_TOKENS cannot hold a question that the adapter allows."""


class NoRoomError(RuntimeError):
    """UQ4CT_ADAPTER_MEMORY_MB does not hold the adapter beside those that must stay."""


class UnknownModelError(LookupError):
    """No adapter of that reference is registered."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no adapter {reference} is registered")


class LoadFailedError(RuntimeError):
    """A registered adapter could not be loaded; the cause says why, and what was loaded before stays."""

    def __init__(self, reference: str, cause: Exception) -> None:
        super().__init__(f"{reference} could not be loaded")
        self.reference = reference
        self.cause = cause


class DefaultModelError(ValueError):
    """The adapter that answers requests without a model cannot be unloaded."""


class StoreReadOnlyError(RuntimeError):
    """The model store cannot be written from here."""
