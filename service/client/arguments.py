"""Checks of a client's arguments, before the HTTP library sees them."""

from __future__ import annotations

import math

import httpx2

from uq4ct.service.client.errors import InvalidArgumentError
from uq4ct.service.client.values import read_number

_LONGEST_TIMEOUT = 86_400.0  # seconds; operating systems limit what a socket accepts
_LAST_PORT = 65_535


def read_base_url(text: str) -> httpx2.URL:
    """Return the address of a service.

    Raises:
        InvalidArgumentError: it is not such an address; the message leaves out what may be a password.
    """
    if not isinstance(text, str):
        raise _wrong_url(f"must be text (got {type(text).__name__})")
    shown = ascii(text.rpartition("@")[2])
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise _wrong_url(f"is not a URL (got {shown})") from error
    if (url.port or 0) > _LAST_PORT:
        raise _wrong_url(f"must have a port of at most {_LAST_PORT} (got {shown})")
    if url.scheme not in ("http", "https"):
        raise _wrong_url(f"must start with http:// or https:// (got {shown})")
    if not url.host:
        raise _wrong_url(f"must name a host (got {shown})")
    if "?" in text or "#" in text:
        raise _wrong_url(f"must not have a query or a fragment (got {shown})")
    return url


def show_url(url: httpx2.URL) -> str:
    """Return an address for a message, without user and password."""
    return str(url.copy_with(username=None, password=None)).rstrip("/")


def authorization(api_key: str | None) -> dict[str, str]:
    """Return the headers that carry a key.

    Raises:
        InvalidArgumentError: no header can carry it; the message leaves out the key.
    """
    if api_key is None:
        return {}
    if not isinstance(api_key, str) or not api_key:
        raise InvalidArgumentError(f"api_key: must be text, not empty (got {type(api_key).__name__})")
    for place, character in enumerate(api_key):
        if not "!" <= character <= "~":
            raise InvalidArgumentError(
                f"api_key: character {place + 1} of {len(api_key)} is {_name_of(character)}; "
                "only letters, digits and punctuation of ASCII are allowed"
            )
    return {"Authorization": f"Bearer {api_key}"}


def check_timeout(seconds: float) -> float:
    """Return the timeout.

    Raises:
        InvalidArgumentError: it is not a number of seconds above 0 and up to a day.
    """
    allowed = f"seconds, above 0 and at most {_LONGEST_TIMEOUT:.0f}"
    return read_number("timeout", seconds, allowed, math.ulp(0.0), _LONGEST_TIMEOUT)


def _wrong_url(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"base_url: {message}")


def _name_of(character: str) -> str:
    if character in "\r\n":
        return "a line end"
    return "a space" if character.isspace() else "a control character" if character.isascii() else "outside ASCII"
