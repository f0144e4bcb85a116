"""Parse a window and a model as given over HTTP and on the command line."""

from __future__ import annotations

import re

from uq4ct.service.ledger.queries import Window

WINDOW_PATTERN = r"^[1-9][0-9]{0,8}[smhd]$"
MODEL_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}(@[1-9][0-9]{0,8})?$"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def window_ms(window: str) -> int:
    """Return the milliseconds of a window such as 90m, 24h or 7d.

    Raises:
        ValueError: it does not have this form.
    """
    if re.fullmatch(WINDOW_PATTERN, window) is None:
        raise ValueError(f"must be a number followed by s, m, h or d, such as 24h or 7d (got {window!r})")
    return int(window[:-1]) * _SECONDS[window[-1]] * 1000


def window_of(since_ms: int, until_ms: int, tenant: str | None, model: str | None) -> Window:
    """Return the window between two times of one tenant (None: of all) and of a name or name@version (None: of all).

    Raises:
        ValueError: the model does not have this form.
    """
    if model is None:
        return Window(since_ms, until_ms, tenant, None, None)
    if re.fullmatch(MODEL_PATTERN, model) is None:
        raise ValueError(f"must be name or name@version (got {model!r})")
    name, _, version = model.partition("@")
    return Window(since_ms, until_ms, tenant, name, int(version) if version else None)
