"""A report as one HTML page with inline pictures: readable on a phone, in light and in dark mode."""

from __future__ import annotations

from html import escape
from pathlib import Path

from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.study.document import Block, Chart, Document, Heading, Paragraph, TableBlock, Terms
from uq4ct.training.study.drawing import panel_svg

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #8a94a3; --page: #ffffff; --card: #f5f7fa; --line: #d5dbe3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --muted: #8a94a3; --page: #14171b; --card: #1d2228; --line: #353d47; }
}
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3, h4 { line-height: 1.25; }
h2 { margin-top: 3rem; border-top: 2px solid var(--line); padding-top: 1rem; }
h3 { margin-top: 2.5rem; }
h4, figure h4 { margin: 0 0 .5rem; }
nav li { margin: .2rem 0; }
a { color: inherit; }
p, figcaption, dl { max-width: 46rem; }
dt { font-weight: 600; }
dd { margin: 0 0 .4rem 1rem; }
figure { margin: 1.5rem 0; }
figcaption { margin-top: .5rem; color: var(--ink); opacity: .85; font-size: .93rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: left; white-space: pre; vertical-align: top;
  border-bottom: 1px solid var(--line); }
td.long { white-space: pre-wrap; min-width: 16rem; }
tr:last-child td { border-bottom: 0; }
th { background: var(--card); }
tr > :first-child { position: sticky; left: 0; background: var(--card); font-weight: 600; max-width: 40vw;
  white-space: normal; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: .75rem; }
.panels svg { width: 100%; max-width: 26rem; height: auto; background: var(--card); border-radius: .4rem; }
"""
_LONG = 60  # cells with more characters may wrap


def write_page(document: Document, path: Path) -> None:
    """Write the page."""
    title = next((escape(block.text) for block in document if isinstance(block, Heading)), "Report")
    body = "\n".join(_render(index, block, document) for index, block in enumerate(document))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style>"
    )
    page = f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'
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
            return _figure(block.title, _table(block), block.caption)
        case Chart():
            panels = "".join(panel_svg(block, panel) for panel in block.panels)
            return _figure(block.title, f'<div class="panels">{panels}</div>', block.caption)


def _contents(document: Document) -> str:
    entries = [
        f'<li style="margin-left: {block.level - 2}rem"><a href="#{_anchor(index)}">{escape(block.text)}</a></li>'
        for index, block in enumerate(document)
        if isinstance(block, Heading) and block.level > 1
    ]
    return f"<nav><ul>{''.join(entries)}</ul></nav>"


def _anchor(index: int) -> str:
    return f"part-{index}"


def _figure(title: str, content: str, caption: str) -> str:
    return f"<figure><h4>{escape(title)}</h4>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(block: TableBlock) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in block.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in block.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(text: str) -> str:
    kind = ' class="long"' if len(text) > _LONG else ""
    return f"<td{kind}>{escape(text)}</td>"
