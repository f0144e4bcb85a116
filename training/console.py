"""Output to a terminal or a log: lines of text and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


def say(console: Console, text: str) -> None:
    """Print one line verbatim: no wrapping, no colour, no markup."""
    console.print(text, highlight=False, soft_wrap=True, markup=False, emoji=False)


@contextmanager
def count_up(console: Console, title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal until the block ends; yields a function that advances it by a count."""
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
