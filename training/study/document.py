"""The blocks of a report, before it becomes HTML or Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_HEIGHT = 3.1  # inches


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: level 1 is the report's own, level 2 a data set or theme, level 3 a split."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms and their definitions."""

    entries: dict[str, str]


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table of text cells; the first cell names its row, a cell may have lines. `caption` says what good is."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a chart: a title, a function that draws into empty axes, and the height in inches."""

    title: str
    draw: Callable[[Axes], None]
    height: float = PANEL_HEIGHT


@dataclass(frozen=True, slots=True)
class Chart:
    """Pictures that belong together; `caption` says what good looks like."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    caption: str


Block = Heading | Paragraph | Terms | TableBlock | Chart
Document = list[Block]
