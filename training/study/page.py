"""A report as one HTML page with inline pictures: readable on a phone, on paper, in light and in dark mode."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.study.document import Block, Chart, Document, Heading, Paragraph, TableBlock, Terms
from uq4ct.training.study.drawing import panel_svg
from uq4ct.training.study.style import STYLE

_LONG = 60  # cells with more characters may wrap
_NUMBERS = re.compile(r" ± |\[\S+, \S+\]|p [=<] \S+")  # stay on one line


def write_page(document: Document, path: Path) -> None:
    """Write the page."""
    title = next((escape(block.text) for block in document if isinstance(block, Heading)), "Report")
    body = "\n".join(_render(index, block, document) for index, block in enumerate(document))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style>"
    )
    page = f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main></body></html>\n'
    replace_file(path, page.encode())


def _render(index: int, block: Block, document: Document) -> str:
    match block:
        case Heading():
            heading = f'<h{block.level} id="{_anchor(index)}">{escape(block.text)}</h{block.level}>'
            return heading + _contents(document) if block.level == 1 else heading
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case Terms():
            entries = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in block.entries.items())
            return f"<details><summary>Terms used here</summary><dl>{entries}</dl></details>"
        case TableBlock():
            return _figure(index, document, block, _table(block, _anchor(index)))
        case Chart():
            panels = "".join(panel_svg(block, panel) for panel in block.panels)
            return _figure(index, document, block, f'<div class="panels">{panels}</div>')


def _contents(document: Document) -> str:
    entries = [
        f'<li class="level-{block.level}"><a href="#{_anchor(index)}">{escape(block.text)}</a></li>'
        for index, block in enumerate(document)
        if isinstance(block, Heading) and block.level > 1
    ]
    return f'<nav aria-label="Contents"><ul>{"".join(entries)}</ul></nav>' if entries else ""


def _anchor(index: int) -> str:
    return f"part-{index}"


def _figure(index: int, document: Document, block: TableBlock | Chart, content: str) -> str:
    """Return a figure whose title is a heading one level below the heading that it belongs to."""
    above = [one.level for one in document[:index] if isinstance(one, Heading)]
    level = 1 + (above[-1] if above else 0)
    title = f'<h{level} class="title" id="{_anchor(index)}">{escape(block.title)}</h{level}>'
    return f"<figure>{title}{content}<figcaption>{escape(block.caption)}</figcaption></figure>"


def _table(block: TableBlock, title: str) -> str:
    """Return the table in a region that scrolls, also by keyboard; `title` is the id of its title."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in block.columns)
    rows = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(map(_cell, cells))}</tr>' for first, *cells in block.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-labelledby="{title}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    kind = ' class="long"' if len(text) > _LONG else ""
    unbroken = _NUMBERS.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    return f"<td{kind}>{escape(unbroken)}</td>"
