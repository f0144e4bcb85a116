"""Questions that ran out of memory although a batch with at least as many tokens fitted."""

from __future__ import annotations

from dataclasses import dataclass

from uq4ct.service.engine.loaded import LoadedAdapter
from uq4ct.service.engine.predictor import Encoded

_MOST_SUSPECTS = 16


@dataclass(frozen=True, slots=True)
class Suspect:
    """A question that failed alone, to be tried again as it was."""

    adapter: LoadedAdapter
    encoded: Encoded
    options: int


class Suspects:
    """The shapes that fail: adapter and length of a batch of one. Changed by the worker's thread only.

    oneDNN keeps a primitive that it could not create, so a shape that once ran out of memory may fail for ever while
    other shapes work. Only the same shape can show whether it works again.
    """

    def __init__(self) -> None:
        self._largest_answered = 0  # tokens of the largest batch that fitted
        self._shapes: dict[tuple[LoadedAdapter, int], Suspect] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    def all(self) -> list[Suspect]:
        """Return the suspects, oldest first; for any thread."""
        return list(self._shapes.values())

    def note_answered(self, tokens: int) -> None:
        """Note that a batch of this many tokens, counted once per pass, fitted in memory."""
        self._largest_answered = max(self._largest_answered, tokens)

    def note_failed(self, suspect: Suspect, tokens: int) -> None:
        """Note that a question ran out of memory alone; one larger than every batch that fitted is no suspect."""
        if tokens <= self._largest_answered and len(self._shapes) < _MOST_SUSPECTS:
            self._shapes[suspect.adapter, suspect.encoded.length] = suspect

    def clear(self, adapter: LoadedAdapter, length: int) -> None:
        """Forget a shape: a question of it was answered, or its adapter is no longer in memory."""
        self._shapes.pop((adapter, length), None)
