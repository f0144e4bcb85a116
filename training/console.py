"""How training writes to a terminal or a log: lines of text, and bars that count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


def say(console: Console, text: str) -> None:
    """Print one line as it is: not wrapped, not coloured, and with no markup in it."""
    console.print(text, highlight=False, soft_wrap=True, markup=False, emoji=False)


@contextmanager
def count_up(console: Console, title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal that disappears at the end of the block; call what it yields with how many were done."""
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
