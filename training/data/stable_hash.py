"""Choices that depend on nothing but their inputs: the same on every machine, Python version and process."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from random import Random

_SEPARATOR = "\x1f"  # the unit separator: stands in no id, so that ("ab", "c") and ("a", "bc") differ


def digest_of(*parts: object) -> bytes:
    """The SHA-256 of the parts as text, 32 bytes."""
    return sha256(_SEPARATOR.join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()


def fraction_of(*parts: object) -> float:
    """A number in [0, 1), uniform over different parts and always the same for equal ones."""
    return (int.from_bytes(digest_of(*parts)[:8]) >> 11) / 2**53  # 53 bits: every value is an exact double below 1


def generator_of(*parts: object) -> Random:
    """A generator seeded by the parts; only its `random` method gives the same in every version of Python."""
    return Random(int.from_bytes(digest_of(*parts)))


def shuffled(items: Iterable[str], *parts: object) -> list[str]:
    """The items in an order drawn by the parts; where an item stands depends on the item, not on its place before."""
    return sorted(items, key=lambda item: digest_of(*parts, item))
