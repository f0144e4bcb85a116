"""README.md as its reader sees it: sections, the blocks of code in them, and commands named within a line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

_HEADING = re.compile(r"^#+ (.+)$", flags=re.MULTILINE)
_BLOCK = re.compile(r"(?<=\n\n)(?: {4}.*\n+)+")
_SPAN = re.compile(r"`([^`]+)`")
_COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:curl|docker|git|make|pip|python|sh|uq4ct) ")


def sections(text: str = README) -> dict[str, str]:
    """The text under each heading, of whatever level, up to the next; ValueError where a heading comes twice."""
    _, *parts = _HEADING.split(text)
    headings = parts[::2]
    if len(set(headings)) < len(headings):
        raise ValueError(f"a heading comes twice: {sorted(headings)}")
    return dict(zip(headings, parts[1::2], strict=True))


def blocks(section: str, text: str = README) -> list[str]:
    """The blocks of code of a section, without their indentation; as in Markdown, an empty line ends none."""
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip() for block in _BLOCK.findall(_of(section, text))]


def spans(section: str, text: str = README) -> list[str]:
    """The commands that a section names within its lines, each once."""
    named = (" ".join(span.split()) for span in _SPAN.findall(_BLOCK.sub("", _of(section, text))))
    return list(dict.fromkeys(span for span in named if _COMMAND.match(span)))


def commands(block: str) -> list[str]:
    """The commands of a block as written, comments included; one may have several lines."""
    found: list[str] = []
    pending: list[str] = []
    for line in block.splitlines():
        pending.append(line)
        text = "\n".join(pending)
        if _is_whole(text):
            found.extend([text] if shlex.split(text, comments=True) else [])
            pending = []
    if pending:
        raise ValueError(f"a quote is not closed: {pending[0]}")
    return found


def _of(section: str, text: str) -> str:
    return f"\n{sections(text)[section]}\n"


def _is_whole(text: str) -> bool:
    if text.endswith("\\"):
        return False
    try:
        shlex.split(text, comments=True)
    except ValueError:  # an open quote
        return False
    return True
