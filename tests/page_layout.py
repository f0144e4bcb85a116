"""How a page fits screens and A4 paper, measured in a browser."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from selenium.webdriver import Chrome

from tests.service.page.browsing import Page

PHONE = 390
A4 = (595, 842)  # points
A4_MM, SIDE_MARGIN_MM, LOWER_MARGIN_MM = 210, 12, 16  # the margins are those of the reports' styles
_CSS_PIXELS_PER_MM, _POINTS_PER_MM = 96 / 25.4, 72 / 25.4
_TOO_WIDE = """
const [regions, width] = arguments;
return [...document.querySelectorAll('body *')]
  .filter(e => e.checkVisibility() && !(regions && e.parentElement.closest(regions)))
  .filter(e => e.getBoundingClientRect().right > width + 0.5)
  .map(e => `${e.tagName} ${e.textContent.trim().slice(0, 40)}`);
"""
_SCROLLS = "const d = document.documentElement; return d.scrollWidth - d.clientWidth"


@dataclass(frozen=True, slots=True)
class PrintedHeading:
    """A heading in a PDF: its text, and the height from its upper edge to the lower margin, in points."""

    text: str
    height: float


def too_wide_for_a_phone(page: Page, regions: str) -> list[str]:
    """Return the elements outside the scrolling `regions`, a CSS selector, that are wider than a phone's screen."""
    page.resize(PHONE, 800)
    scrolls = page.run(_SCROLLS)
    return page.run(_TOO_WIDE, regions, PHONE) + ([f"the page scrolls by {scrolls} pixels"] if scrolls else [])


def too_wide_for_paper(page: Page) -> list[str]:
    """Return the elements that are wider than the space between the margins of A4 paper."""
    width = int((A4_MM - 2 * SIDE_MARGIN_MM) * _CSS_PIXELS_PER_MM)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    page.resize(width, 1000)
    page.run("for (const e of document.querySelectorAll('details')) e.open = true")
    found = page.run(_TOO_WIDE, None, width)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    return found


def print_page(driver: Chrome) -> tuple[list[PrintedHeading], set[tuple[float, float]]]:
    """Print the page and return its headings and the different sizes of its sheets in points, read from the PDF."""
    options = {"preferCSSPageSize": True, "generateTaggedPDF": True, "generateDocumentOutline": True}
    pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", options)["data"])
    headings = re.findall(rb"/Title \((.*?)\)\n/Dest \[\d+ 0 R /XYZ [\d.]+ ([\d.]+) 0\]", pdf)
    sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    return (
        [PrintedHeading(text.decode(), float(y) - LOWER_MARGIN_MM * _POINTS_PER_MM) for text, y in headings],
        {(round(float(width)), round(float(height))) for width, height in sizes},
    )
