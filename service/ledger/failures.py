"""Why the ledger did not do what it was asked."""

from __future__ import annotations


class LedgerError(RuntimeError):
    """The ledger cannot be opened as it is configured; the message says what an operator can mend."""


class LedgerUnavailableError(RuntimeError):
    """The database cannot be written or read now; worth trying again."""


class UnknownPredictionError(LookupError):
    """There is no such prediction for this tenant."""


class PastRetentionError(LookupError):
    """The prediction is older than the ledger keeps."""


class NotVisibleYetError(LookupError):
    """The prediction is so young that another replica may still be writing it; worth trying again."""


class LabelConflictError(ValueError):
    """The prediction has another label already."""


class AnswerOutsideError(ValueError):
    """The true option is none of the options that the prediction was made for."""


class IdempotencyConflictError(ValueError):
    """The idempotency key came before, with another body."""
