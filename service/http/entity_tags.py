"""Entity tags (RFC 9110, section 8.8.3): a client that has a response need not receive it again."""

from __future__ import annotations

import hashlib


def entity_tag(content: bytes) -> str:
    """Return the strong tag of a response body."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the header If-None-Match names the tag; weak and strong tags compare equal (section 13.1.2)."""
    if if_none_match is None:
        return False
    return bool({one.strip().removeprefix("W/") for one in if_none_match.split(",")} & {tag, "*"})
