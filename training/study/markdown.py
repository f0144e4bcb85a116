"""A report as Markdown, with its charts as PNG files beside it."""

from __future__ import annotations

from pathlib import Path

from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.study.document import Block, Chart, Document, Heading, Paragraph, TableBlock, Terms
from uq4ct.training.study.drawing import chart_png

FIGURES = "figures"


def write_markdown(document: Document, path: Path) -> None:
    """Write the text to `path`, and a picture for each chart into `figures` beside it."""
    (path.parent / FIGURES).mkdir(parents=True, exist_ok=True)
    parts = [_render(block, path.parent) for block in document]
    replace_file(path, ("\n\n".join(parts) + "\n").encode())


def _render(block: Block, folder: Path) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {block.text}"
        case Paragraph():
            return block.text
        case Terms():
            return "\n".join(f"- **{term}**: {meaning}" for term, meaning in block.entries.items())
        case TableBlock():
            return _table(block)
        case Chart():
            file = Path(FIGURES) / f"{block.name}.png"
            replace_file(folder / file, chart_png(block))
            return f"**{block.title}**\n\n![{block.title}]({file.as_posix()})\n\n{block.caption}"


def _table(block: TableBlock) -> str:
    head = _row(block.columns)
    rule = "|" + "---|" * len(block.columns)
    return "\n".join([f"**{block.title}**", "", head, rule, *map(_row, block.rows), "", block.caption])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
