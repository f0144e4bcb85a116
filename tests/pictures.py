"""Makes the pictures of the README from the quickstart in the store: `make demo`, then `python -m tests.pictures`."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tests.command_line import uq4ct
from tests.readme.pages import ROOT
from tests.readme.terminal import Terminal, check_out
from tests.service.page.browsing import Page, open_chromium
from uq4ct.model_store.storage.registry import default_store_dir

PICTURES = ROOT / ".github" / "pictures"
MODEL = "quickstart"
COLOURS = 64
DIAGRAM_WIDTH = 560
PAGE_SIZE = (1180, 1640)
QUESTIONS = 200
MINUTES = 0.5


def main() -> None:
    """Draw both pictures."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        draw_reliability(folder)
        photograph_page(folder)


def draw_reliability(folder: Path) -> None:
    """Draw the reliability diagram that `uq4ct evaluate` draws of the test split, with calibration."""
    _run("evaluate", MODEL, "--output", str(folder / "evaluation"))
    picture = Image.open(folder / "evaluation" / "test-calibrated.png")
    height = round(picture.height * DIAGRAM_WIDTH / picture.width)
    _save(picture.convert("RGB").resize((DIAGRAM_WIDTH, height), Image.Resampling.LANCZOS), "reliability.png")


def photograph_page(folder: Path) -> None:
    """Photograph the operator's page of a running service after some hundred labelled questions of the quiz."""
    questions = str(folder / "week.jsonl")
    _run("questions", MODEL, questions)
    checkout = folder / "checkout"
    checkout.mkdir()
    terminal = Terminal(check_out(checkout), in_process=True)
    store = shlex.quote(str(default_store_dir().absolute()))
    with terminal.serve(f"uq4ct serve --model-store-dir {store} --default-model {MODEL}") as address:
        url = f"http://{address}"
        _run("replay", questions, "--url", url, "--minutes", str(MINUTES), "--asked", str(QUESTIONS))
        with open_chromium(folder / "chromium") as driver:
            page = Page(driver)
            page.resize(*PAGE_SIZE)
            page.set_scheme("light")
            driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
            page.open_loaded(url)
            page.ask("What is the capital of France?", "Madrid", "Paris", "Oslo", "Vienna")
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
    main()
