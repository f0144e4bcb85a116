"""Parse the READMEs: sections, fenced blocks, inline commands, tables and links."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "training" / "recipes"
LANGUAGES = {"bibtex", "csv", "json", "jsonl", "nginx", "python", "sh", "text", "yaml"}

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
_HEADING = re.compile(r"^#+ (.+)$")
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
_COMMAND = re.compile(r"(?:[A-Z_0-9]+=\S+ )*(?:curl|docker|git|make|pip|python|sh|uq4ct) ")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code: its language and its text."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """A README by its path in the project."""

    path: str

    @cached_property
    def text(self) -> str:
        """The text of the file."""
        return (ROOT / self.path).read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> dict[str, str]:
        """The text under each heading, up to the next heading of any level, without the fenced blocks."""
        return read_sections(self.text)[0]

    @cached_property
    def blocks(self) -> dict[str, list[Block]]:
        """The fenced blocks under each heading that has any."""
        return read_sections(self.text)[1]

    def code(self, section: str, *languages: str) -> tuple[str, ...]:
        """The blocks of a section, which must have these languages in this order."""
        found = self.blocks[section]
        assert tuple(block.language for block in found) == languages, (self.path, section)
        return tuple(block.text for block in found)

    def spans(self, section: str) -> list[str]:
        """The inline commands of a section, without duplicates."""
        return read_spans(self.prose[section])

    def table(self, first: str, second: str) -> list[list[str]]:
        """The rows of the only table whose header begins with these two cells."""
        (rows,) = [rows for header, *rows in read_tables(self.text) if header[:2] == [first, second]]
        return rows

    def links(self) -> list[str]:
        """The targets of its links and pictures, code excluded."""
        text = _SPAN.sub("", "\n".join(self.prose.values()))
        return [link or picture for link, picture in _LINK.findall(text)]

    def anchors(self) -> set[str]:
        """The anchors that links can point to: the headings in GitHub's form."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.prose}


ROOT_PAGE = Page("README.md")
SERVICE_PAGE = Page("service/README.md")
TRAINING_PAGE = Page("training/README.md")
DOCKER_PAGE = Page("docker/README.md")
MODEL_STORE_PAGE = Page("model_store/README.md")
CONTRIBUTING_PAGE = Page(".github/CONTRIBUTING.md")
PAGES = (ROOT_PAGE, SERVICE_PAGE, TRAINING_PAGE, DOCKER_PAGE, MODEL_STORE_PAGE, CONTRIBUTING_PAGE)


def read_sections(text: str) -> tuple[dict[str, str], dict[str, list[Block]]]:
    """The prose and the fenced blocks under each heading.

    Raises:
        ValueError: a heading occurs twice, or a fence is indented or never closed.
    """
    prose: dict[str, list[str]] = {}
    blocks: defaultdict[str, list[Block]] = defaultdict(list)
    section, fence, language, code = "", "", "", list[str]()
    for line in text.splitlines():
        match = _FENCE.match(line)
        if fence:
            if line == fence:
                blocks[section].append(Block(language, "\n".join(code)))
                fence = ""
            else:
                code.append(line)
        elif match:
            if match[1]:
                raise ValueError(f"an indented fence: {line!r}")
            fence, language, code = match[2], match[3].strip(), []
        elif heading := _HEADING.match(line):
            section = heading[1]
            if section in prose:
                raise ValueError(f"a heading occurs twice: {section}")
            prose[section] = []
        else:
            prose.setdefault(section, []).append(line)
    if fence:
        raise ValueError(f"a fence is not closed: {fence}{language}")
    return {heading: "\n".join(lines) for heading, lines in prose.items()}, dict(blocks)


def read_spans(prose: str) -> list[str]:
    """The commands between backquotes, without duplicates."""
    named = (" ".join(span.split()) for span in _SPAN.findall(prose))
    return list(dict.fromkeys(span for span in named if _COMMAND.match(span)))


def read_tables(text: str) -> list[list[list[str]]]:
    """The cells of each table, header first, without the line of dashes below it."""
    tables = re.findall(r"(?:^\|.*\|\n)+", text + "\n", flags=re.MULTILINE)
    rows = [[_cells(line) for line in table.splitlines()] for table in tables]
    return [[header, *body] for header, _, *body in rows]


def commands(code: str) -> list[str]:
    """The commands of a shell block as written, comments included; a command may span several lines."""
    found: list[str] = []
    pending: list[str] = []
    for line in code.splitlines():
        pending.append(line)
        text = "\n".join(pending)
        if _is_whole(text):
            found.extend([text] if shlex.split(text, comments=True) else [])
            pending = []
    if pending:
        raise ValueError(f"a quote is not closed: {pending[0]}")
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _is_whole(text: str) -> bool:
    if text.endswith("\\"):
        return False
    try:
        shlex.split(text, comments=True)
    except ValueError:  # an open quote
        return False
    return True
