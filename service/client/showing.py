"""Short texts and HTML tables of records, for prompts and notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_LONGEST_LIST = 6
_MOST_LISTED = 3


class Shown(str):
    """A text that is its own representation."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shorten(value: Any) -> Any:
    """Return a field's value, or the number of its entries if there are many."""
    if isinstance(value, list | dict) and len(value) > _LONGEST_LIST:
        return Shown(f"<{len(value)} {'entries' if isinstance(value, list) else 'keys'}>")
    if isinstance(value, dict) and any(isinstance(one, list | dict) for one in value.values()):
        return {key: shorten(one) for key, one in value.items()}
    return value


def join_first(texts: Sequence[str], separator: str = "; ") -> str:
    """Return the first few texts and the number of the others."""
    others = len(texts) - _MOST_LISTED
    return separator.join([*texts[:_MOST_LISTED], *([f"and {others} more"] if others > 0 else [])])


def show_number(number: float | None) -> str:
    """Return a number with three decimals, or a dash."""
    return "-" if number is None else f"{number:.3f}"


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; every text is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
