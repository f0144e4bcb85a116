"""Checks of every README: parsing, fence languages, links, length, and the lists of folders."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from tests.readme.pages import (
    CONTRIBUTING_PAGE,
    DOCKER_PAGE,
    LANGUAGES,
    PAGES,
    ROOT,
    ROOT_PAGE,
    SERVICE_PAGE,
    TRAINING_PAGE,
    Block,
    Page,
    commands,
    read_sections,
    read_spans,
    read_tables,
)

PICTURES = ROOT / ".github" / "pictures"
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
FOLDERS = {parent for name in TRACKED.split("\0") for parent in PurePosixPath(name).parents}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)

EXAMPLE = """# Title

Say `make it` or `python -m it
now` or `A=1 make it`, `A=1 make it`, but `make` is no command.

```sh
# nothing
one 'with
  two lines'   # it's said

two \\
  --more
```

| a | b |
|---|---|
| 1 | `make all` |

## Next, then

```json
{}
```
"""


def test_a_reader_sees_what_markdown_shows() -> None:
    prose, blocks = read_sections(EXAMPLE)
    assert list(prose) == ["Title", "Next, then"]
    assert read_spans(prose["Title"]) == ["make it", "python -m it now", "A=1 make it", "make all"]
    (shell,) = blocks["Title"]
    assert shell.language == "sh"
    assert commands(shell.text) == ["one 'with\n  two lines'   # it's said", "two \\\n  --more"]
    assert blocks["Next, then"] == [Block("json", "{}")]
    assert read_tables(EXAMPLE) == [[["a", "b"], ["1", "`make all`"]]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# A\n\n# A\n", "twice"),
        ("# A\n\n```sh\nmake\n", "not closed"),
        ("# A\n\n- one\n\n  ```sh\n  make\n  ```\n", "indented"),
    ],
)
def test_ambiguous_markdown_is_an_error(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_sections(text)


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(ValueError, match="not closed"):
        commands("one 'two")


@every_page
def test_code_is_fenced_with_its_language_never_indented(page: Page) -> None:
    blocks = [block for section in page.blocks.values() for block in section]
    assert {block.language for block in blocks} <= LANGUAGES
    assert not any("~~~" in prose or re.search(r"\n\n(?: {4}|\t)", prose) for prose in page.prose.values())


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Page) -> None:
    for link in page.links():
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (ROOT / page.path).parent / path if path else ROOT / page.path
            assert target.is_file(), link
            assert not anchor or anchor in Page(str(target.resolve().relative_to(ROOT.resolve()))).anchors(), link


def test_the_readme_is_at_most_120_lines_long() -> None:
    assert len(ROOT_PAGE.text.splitlines()) <= 120


@pytest.mark.parametrize("page", [SERVICE_PAGE, TRAINING_PAGE, DOCKER_PAGE], ids=lambda page: page.path)
def test_the_map_of_a_folder_names_every_folder_in_it(page: Page) -> None:
    top = PurePosixPath(page.path).parent
    inner = {folder.relative_to(top) for folder in FOLDERS if folder.is_relative_to(top) and folder != top}
    assert _mapped(page) == {f"{folder}/" for folder in inner}


def test_the_layout_names_every_folder_at_the_top() -> None:
    assert _mapped(CONTRIBUTING_PAGE) == {f"{folder}/" for folder in FOLDERS if len(folder.parts) == 1}


def _mapped(page: Page) -> set[str]:
    rows = page.table("folder", "what it contains")
    return {name for folder, *_ in rows for name in re.findall(r"`([^`]+)`", folder)}


def test_the_pictures_are_small_and_each_is_shown() -> None:
    pictures = sorted(PICTURES.iterdir())
    assert sum(picture.stat().st_size for picture in pictures) < 150_000
    assert {Path(link).name for link in ROOT_PAGE.links() if link.endswith(".png")} == {one.name for one in pictures}
