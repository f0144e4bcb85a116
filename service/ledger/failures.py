"""Why the ledger did not do what it was asked."""

from __future__ import annotations

from uq4ct.model_store.errors import UserError


class LedgerError(UserError, RuntimeError):
    """The ledger cannot be opened as it is configured; the message says what an operator can mend."""


class LedgerUnavailableError(UserError, RuntimeError):
    """The database cannot be written or read now; worth trying again."""


class RefusedError(UserError, ValueError):
    """What was asked cannot be done; the message may go to the client who asked."""


class UnknownPredictionError(RefusedError):
    """There is no such prediction for this tenant."""


class PastRetentionError(RefusedError):
    """The prediction is older than the ledger keeps."""


class NotVisibleYetError(RefusedError):
    """The prediction is so young that another replica may still be writing it; worth trying again."""


class LabelConflictError(RefusedError):
    """The prediction has another label already."""


class AnswerOutsideError(RefusedError):
    """The true option is none of the options that the prediction was made for."""


class IdempotencyConflictError(RefusedError):
    """The idempotency key came before, with another body."""
