"""The error of base models that cannot be used."""

from __future__ import annotations

from uq4ct.model_store.errors import UserError

_SHOWN_CHARACTERS = 300


class BaseModelError(UserError, RuntimeError):
    """A base model that cannot be loaded; the message says what to do."""


def one_line(error: Exception) -> str:
    """Return the class and message of another library's error on one line, cut to 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN_CHARACTERS]
