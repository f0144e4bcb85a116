"""Makes the pictures of the README: `make demo`, then `python -m tests.pictures [reliability|page]`.

The reliability diagram is that of the quickstart in the store; the page needs no store.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from PIL import Image

from tests.command_line import uq4ct
from tests.readme.pages import ROOT
from tests.service.page.browsing import Page, open_chromium
from tests.service.page.shifted import serve_shifted

PICTURES = ROOT / ".github" / "pictures"
MODEL = "quickstart"
COLOURS = 64
DIAGRAM_WIDTH = 560
PAGE_SIZE = (1440, 1170)
PHOTOGRAPHED = "triage"


def main(wanted: str = "all") -> None:
    """Draw both pictures, or one of them."""
    with TemporaryDirectory() as name:
        if wanted in ("all", "reliability"):
            draw_reliability(Path(name))
        if wanted in ("all", "page"):
            photograph_page(Path(name))


def draw_reliability(folder: Path) -> None:
    """Draw the reliability diagram that `uq4ct evaluate` draws of the test split, with calibration."""
    _run("evaluate", MODEL, "--output", str(folder / "evaluation"))
    picture = Image.open(folder / "evaluation" / "test-calibrated.png")
    height = round(picture.height * DIAGRAM_WIDTH / picture.width)
    _save(picture.convert("RGB").resize((DIAGRAM_WIDTH, height), Image.Resampling.LANCZOS), "reliability.png")


def photograph_page(folder: Path) -> None:
    """Photograph the operator's page over six days in which the questions changed."""
    with serve_shifted(folder, PHOTOGRAPHED) as address, open_chromium(folder / "chromium") as driver:
        page = Page(driver)
        page.resize(*PAGE_SIZE)
        page.set_scheme("light")
        driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        page.open(address)
        page.until(lambda: httpx2.get(f"{address}/calibration").json()["alarms"])
        page.open_loaded(address)
        picture = Image.open(io.BytesIO(driver.get_screenshot_as_png()))
    _save(picture.convert("RGB"), "page.png")


def _run(*arguments: str) -> None:
    done = uq4ct(arguments)
    assert done.exit_code == 0, done.output


def _save(picture: Image.Image, name: str) -> None:
    """Save a picture with few colours, which keeps the file small."""
    PICTURES.mkdir(exist_ok=True)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
