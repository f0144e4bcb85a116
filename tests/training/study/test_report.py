"""The report of a simulated study: complete, explicit about missing rows, and valid HTML and Markdown."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from uq4ct.training.study.document import Chart, Panel, TableBlock
from uq4ct.training.study.drawing import chart_png, panel_svg
from uq4ct.training.study.markdown import write_markdown
from uq4ct.training.study.page import write_page
from uq4ct.training.study.report import build_report
from uq4ct.training.study.results import Results

MakeResults = Callable[..., Results]


def tables(results: Results) -> dict[str, list[TableBlock]]:
    found: dict[str, list[TableBlock]] = {}
    for block in build_report(results):
        if isinstance(block, TableBlock):
            found.setdefault(block.title, []).append(block)
    return found


def test_every_variant_has_a_row_on_every_split(make_results: MakeResults) -> None:
    found = tables(make_results())["Accuracy and calibration"]
    assert len(found) == 2  # test and one shift
    for table in found:
        assert [row[0] for row in table.rows] == [
            f"{label}{suffix}" for label in ("lora", "ensemble", "uq4ct") for suffix in ("", " + temperature")
        ]
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all("±" in row[1] and "[" in row[1] for row in table.rows)


def test_differences_are_to_the_baseline_and_corrected(make_results: MakeResults) -> None:
    found = tables(make_results())["Differences to lora, on the same questions"][0]
    assert [row[0] for row in found.rows] == [
        "lora + temperature",
        "ensemble",
        "ensemble + temperature",
        "uq4ct",
        "uq4ct + temperature",
    ]
    assert re.fullmatch(r"-0\.\d{3}\n\[-0\.\d{3}, -0\.\d{3}\]\np [=<] 0\.0\d\d\*", found.rows[0][3])
    assert "5 comparisons" in found.caption


def test_one_seed_has_intervals_but_no_deviation(make_results: MakeResults) -> None:
    found = tables(make_results(seeds=[0]))["Accuracy and calibration"][0]
    assert all("±" not in cell for row in found.rows for cell in row)
    assert all("[" in row[1] for row in found.rows)


def test_failed_and_missing_rows_are_named(make_results: MakeResults) -> None:
    results = make_results(failed={"ensemble": "the loss of step 3 is nan"})
    assert tables(results)["Failed rows"][0].rows == (
        ("ensemble on quiz, seed 0", "the loss of step 3 is nan"),
        ("ensemble on quiz, seed 1", "the loss of step 3 is nan"),
    )
    assert {row[0] for row in tables(results)["Accuracy and calibration"][0].rows} == {
        "lora",
        "lora + temperature",
        "uq4ct",
        "uq4ct + temperature",
    }


def test_costs_are_ratios_to_the_baseline(make_results: MakeResults) -> None:
    (table,) = tables(make_results())["What each method costs"]
    assert [row[1:5] for row in table.rows] == [
        ("lora", "1.00", "10", "1"),
        ("ensemble", "5.00", "50", "5"),
        ("uq4ct", "1.00", "10", "1"),
    ]


def test_methods_without_a_score_have_no_panel_for_it(make_results: MakeResults) -> None:
    charts = {block.name: block for block in build_report(make_results()) if isinstance(block, Chart)}
    assert [panel.title for panel in charts["quiz-test-mutual-information"].panels] == ["ensemble"]
    assert [panel.title for panel in charts["quiz-test-feu"].panels] == ["uq4ct"]
    assert len(charts["quiz-history-reliability"].panels) == 3


class _Checker(HTMLParser):
    """Collects the tags, references and ids of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.names += [value or "" for name, value in attrs if name == "id"]


@pytest.mark.slow
def test_the_page_needs_nothing_else(make_results: MakeResults, tmp_path: Path) -> None:
    write_page(build_report(make_results(seeds=[0])), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    checker = _Checker()
    checker.feed(page)
    assert all(reference.startswith("#") for reference in checker.references)
    assert {reference[1:] for reference in checker.references} <= set(checker.names)
    assert "script" not in checker.tags
    assert checker.tags.count("svg") == 2 * (4 + 3 + 3 + 3 + 1 + 1)
    assert "prefers-color-scheme: dark" in page
    assert "var(--ink)" in page[page.index("<svg") :]


def test_the_same_panel_gives_the_same_text(make_results: MakeResults) -> None:
    charts = [block for block in build_report(make_results(seeds=[0])) if isinstance(block, Chart)]
    for chart in charts[:2]:
        assert panel_svg(chart, chart.panels[0]) == panel_svg(chart, chart.panels[0])


def test_a_place_without_a_panel_is_white() -> None:
    """Four panels in two rows of three: the last two places stay empty, without axes."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1])

    panels = tuple(Panel(str(number), draw) for number in range(4))
    image = imread(io.BytesIO(chart_png(Chart("name", "title", panels, "caption"))))
    height, width = image.shape[0], image.shape[1]
    assert image[height // 2 + 10 :, width // 3 + 10 :].min() == 1
    assert image[height // 2 + 10 :, : width // 3].min() < 1


@pytest.mark.slow
def test_the_text_has_its_pictures(make_results: MakeResults, tmp_path: Path) -> None:
    write_markdown(build_report(make_results(seeds=[0])), tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 12
    assert all((tmp_path / picture).read_bytes().startswith(b"\x89PNG") for picture in pictures)
    rows = [line for line in text.splitlines() if line.startswith("| lora + temperature |")]
    assert [line.count("|") for line in rows] == 2 * [8, 8, 6]  # calibration, ranking, differences


@pytest.mark.parametrize("failed", [{"lora": "gone"}, {"lora": "a", "ensemble": "b", "uq4ct": "c"}])
def test_a_report_needs_neither_baseline_nor_any_row(
    failed: dict[str, str], make_results: MakeResults, tmp_path: Path
) -> None:
    document = build_report(make_results(failed=failed, seeds=[0]))
    write_page(document, tmp_path / "report.html")
    assert "Failed rows" in (tmp_path / "report.html").read_text()
