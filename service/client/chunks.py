"""Batches of any number of items, in chunks that the service accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from uq4ct.service.client.bodies import Item
from uq4ct.service.client.errors import InvalidRequestError
from uq4ct.service.client.records import Problem
from uq4ct.service.client.steps import Steps

CHUNK = 64  # items; default of the service's UQ4CT_MAX_CLIENT_BATCH_SIZE
_TOO_LARGE = 413

R = TypeVar("R")
T = TypeVar("T")


class Chunks:
    """Sends chunks, smaller ones once the service says that they are too large; `size` is its limit on items."""

    def __init__(self) -> None:
        self.size = CHUNK

    def send(
        self, items: Sequence[Item], call: Callable[[Sequence[Item]], Steps[list[R | Problem]]]
    ) -> Steps[list[R | Problem]]:
        """Send a chunk with `call`: one result per item; for an item that is too large alone, the service's problem."""
        if len(items) > self.size:
            return (yield from self._send_parts(items, self.size, call))
        try:
            return (yield from call(items)) if items else []
        except InvalidRequestError as error:
            if error.status != _TOO_LARGE or (len(items) == 1 and error.problem is None):
                raise
            problem = error.problem
        if len(items) == 1 and problem is not None:
            return [problem]
        limit = None if problem is None else problem.limit  # of items, bytes or tokens
        if limit is not None and 0 < limit < len(items):
            self.size = min(self.size, limit)
        return (yield from self._send_parts(items, min(self.size, (len(items) + 1) // 2), call))

    def _send_parts(
        self, items: Sequence[Item], size: int, call: Callable[[Sequence[Item]], Steps[list[R | Problem]]]
    ) -> Steps[list[R | Problem]]:
        results: list[R | Problem] = []
        for part in cut(items, size):
            results += yield from self.send(part, call)
        return results


def cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in parts of `size`, the last one smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))
