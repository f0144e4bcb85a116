"""The runbook as HTML: headings with anchors, paragraphs, lists and code, which is all the Markdown that it uses."""

from __future__ import annotations

import html
import re
from importlib.resources import files

_CODE = re.compile(r"`([^`]+)`")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="description" content="What each alert indicates, and what to do.">
<title>uq4ct: runbook</title>
<link rel="icon" href="page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="page/page.css">
</head>
<body>
<main>
{content}
</main>
</body>
</html>
"""


def read_runbook() -> str:
    """Return the runbook as an HTML page."""
    text = files("uq4ct.service.runbook").joinpath("RUNBOOK.md").read_text(encoding="utf-8")
    return _PAGE.format(content=render(text))


def render(text: str) -> str:
    """Return Markdown's blocks as HTML; the anchor of a section is its heading in lower case."""
    blocks = re.split(r"\n{2,}|\n(?=- )", text.strip())
    return "\n".join(_render_block(block) for block in blocks)


def _render_block(block: str) -> str:
    marker, _, rest = block.partition(" ")
    match marker:
        case "#":
            return f"<h1>{_inline(rest)}</h1>"
        case "##":
            return (
                f'<h2 id="{html.escape(rest.lower())}"><a href="#{html.escape(rest.lower())}">{_inline(rest)}</a></h2>'
            )
        case "-":
            return f"<ul><li>{_inline(rest)}</li></ul>"
        case _:
            return f"<p>{_inline(block)}</p>"


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(" ".join(text.split())))
