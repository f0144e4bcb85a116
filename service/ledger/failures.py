"""Errors of the ledger."""

from __future__ import annotations

from uq4ct.model_store.errors import UserError

LONGEST_PAUSE_DAYS = 7  # between two rounds of retention; more than that looks like a clock that is wrong


class LedgerError(UserError, RuntimeError):
    """The ledger cannot be opened as configured; the message says what an operator can fix."""


class LedgerUnavailableError(UserError, RuntimeError):
    """The database cannot be written or read now; retry later. The message is for logs, not for clients."""


class LedgerFileError(LedgerUnavailableError):
    """A file of an SQLite ledger was removed or replaced while it was open."""


class ClockJumpedError(UserError, RuntimeError):
    """The clock is so far ahead of the last round of retention that nothing is deleted."""


class RefusedError(UserError, ValueError):
    """A request that the ledger rejects; the message may be shown to the client."""


class UnknownPredictionError(RefusedError):
    """There is no such prediction within the caller's reach."""


class PastRetentionError(RefusedError):
    """The prediction is older than the ledger keeps."""


class NotVisibleYetError(RefusedError):
    """The prediction is so recent that another replica may still be writing it; retry later."""


class LabelConflictError(RefusedError):
    """The prediction already has a different label."""


class AnswerOutsideError(RefusedError):
    """The label is not one of the prediction's options."""


class IdempotencyConflictError(RefusedError):
    """The idempotency key was already used with a different body."""
