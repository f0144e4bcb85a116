"""Choices that depend only on their inputs: the same on every machine, Python version and process."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from random import Random

_SEPARATOR = "\x1f"  # the unit separator occurs in no id, so that ("ab", "c") and ("a", "bc") differ


def digest_of(*parts: object) -> bytes:
    """Return the SHA-256 of the parts as text, 32 bytes."""
    return sha256(_SEPARATOR.join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()


def fraction_of(*parts: object) -> float:
    """Return a number in [0, 1), uniform over different parts and always the same for equal ones."""
    return (int.from_bytes(digest_of(*parts)[:8]) >> 11) / 2**53  # 53 bits: every value is an exact double below 1


def generator_of(*parts: object) -> Random:
    """Return a generator seeded by the parts; only its `random` method is the same in every Python version."""
    return Random(int.from_bytes(digest_of(*parts)))


def shuffled(items: Iterable[str], *parts: object) -> list[str]:
    """Return the items in an order drawn by the parts, which does not depend on their order in the input."""
    return sorted(items, key=lambda item: digest_of(*parts, item))
