"""Reasons of a database's failures that may be logged: one line, without secrets or values of rows."""

from __future__ import annotations

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from uq4ct.service.ledger.failures import ClockJumpedError, LedgerError, LedgerUnavailableError

_SECRET_ARGUMENTS = ("password", "sslpassword")


def reason_of(error: SQLAlchemyError, url: URL) -> str:
    """Return the database's message in one line, without the passwords of the URL.

    PostgreSQL's details are left out, since they may quote a row.
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    text = " ".join((primary or str(cause).partition("(Background on this error")[0]).split())
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text or type(cause).__name__


def log_fields(error: Exception) -> dict[str, str]:
    """Return what a log says about an error: the type of its cause, and the reason where that quotes no row."""
    tells = isinstance(error, LedgerError | LedgerUnavailableError | ClockJumpedError)
    reason = {"reason": str(error)} if tells else {}
    return {"error": type(_origin(error)).__name__} | reason


def _origin(error: BaseException) -> BaseException:
    """Return the driver's or system's error that a ledger's error comes from."""
    while isinstance(error, LedgerError | LedgerUnavailableError) and error.__cause__ is not None:
        error = error.__cause__
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _secrets(url: URL) -> list[str]:
    values = [url.password, *(url.query.get(name) for name in _SECRET_ARGUMENTS)]
    return [value for value in values if isinstance(value, str) and value]
