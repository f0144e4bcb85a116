"""The pictures of a report: what they draw, in which colours, and whether their texts can be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from matplotlib.container import ErrorbarContainer

from tests.colours import DICHROMATS, contrast
from tests.drawn_texts import cut_texts, touching_ticks
from uq4ct.model_store.uncertainty.intervals import Interval
from uq4ct.training.evaluation.axes import INK, MUTED, SERIES, new_figure
from uq4ct.training.study.document import Chart, Panel, TableBlock
from uq4ct.training.study.drawing import chart_figure, panel_figure
from uq4ct.training.study.panels import histogram_panel, measure_height, measure_panel
from uq4ct.training.study.report import build_report
from uq4ct.training.study.results import Results, Variant
from uq4ct.training.study.statistics import Spread
from uq4ct.training.study.style import DARK, LIGHT

MakeResults = Callable[..., Results]
CONTRAST = 3.0  # of a series with the other and with its ground; WCAG 2.1, 1.4.11, for parts of a picture
DICHROMAT_CONTRAST = 2.5
COLUMNS = {  # of the table, by the picture's title
    "accuracy": "accuracy",
    "RMS calibration error": "RMS calibration error",
    "NLL in nats": "NLL (nats)",
    "Brier score": "Brier",
}


@pytest.mark.parametrize("dichromat", [None, *DICHROMATS])
@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_series_differ_in_lightness_for_every_reader(scheme: dict[str, str], dichromat: str | None) -> None:
    least = CONTRAST if dichromat is None else DICHROMAT_CONTRAST
    series = (scheme["first"], scheme["second"])
    assert contrast(*series, dichromat) >= least
    for ground in (scheme["page"], scheme["card"]):
        assert min(contrast(colour, ground, dichromat) for colour in (*series, scheme["muted"])) >= least


def test_the_light_scheme_has_the_colours_of_the_pictures() -> None:
    assert (LIGHT["first"], LIGHT["second"]) == tuple(style.colour for style in SERIES)
    assert (LIGHT["ink"], LIGHT["muted"]) == (INK, MUTED)


@pytest.mark.parametrize("part", ["colour", "marker", "line"])
def test_no_two_series_share_a_look(part: str) -> None:
    assert all(getattr(one, part) != getattr(other, part) for one, other in itertools.combinations(SERIES, 2))


@pytest.mark.slow
def test_every_text_of_every_picture_can_be_read(make_results: MakeResults) -> None:
    charts = [block for block in build_report(make_results(seeds=[0])) if isinstance(block, Chart)]
    assert len(charts) == 12
    figures = [panel_figure(panel) for chart in charts for panel in chart.panels] + [
        chart_figure(one) for one in charts
    ]
    assert [touching_ticks(figure) for figure in figures if touching_ticks(figure)] == []
    assert [cut_texts(figure) for figure in figures if cut_texts(figure)] == []


@pytest.mark.parametrize("methods", [1, 5, 30])
@pytest.mark.parametrize(("first", "step"), [(0.0, 0.01), (0.4271, 0.0001), (123.4, 1.7), (0.0, 0.0)])
def test_many_methods_with_long_names_can_be_read(methods: int, first: float, step: float) -> None:
    labels = [f"uq4ct-with-a-name-that_has_{number}_on_each_of_its_lines" for number in range(methods)]
    means = {label: first + step * number for number, label in enumerate(labels)}
    spreads = {Variant(label, "none"): Spread(mean, None, Interval(mean, mean)) for label, mean in means.items()}
    draw = measure_panel(spreads, labels, ["none"], "lower is better")
    figure = panel_figure(Panel("RMS calibration error", draw, measure_height(labels)))
    assert touching_ticks(figure) == []
    assert cut_texts(figure) == []


@pytest.mark.parametrize("highest", [1e-6, 0.00031, 0.0317, 0.99, 1.386])
def test_the_scale_of_a_histogram_can_be_read(highest: float) -> None:
    values = torch.linspace(0, highest, 100)
    figure = panel_figure(Panel("title", histogram_panel(values, values > highest / 3, highest, "entropy in nats")))
    assert touching_ticks(figure) == []
    assert cut_texts(figure) == []


def test_the_overview_draws_the_numbers_of_the_table(make_results: MakeResults) -> None:
    document = build_report(make_results())
    table = next(one for one in document if isinstance(one, TableBlock) and one.title == "Accuracy and calibration")
    overview = next(one for one in document if isinstance(one, Chart) and one.name == "quiz-test-overview")
    assert [panel.title for panel in overview.panels] == list(COLUMNS)
    for panel in overview.panels:
        column = table.columns.index(COLUMNS[panel.title])
        cells = {row[0]: row[column] for row in table.rows}
        drawn = _drawn(panel)
        assert drawn.keys() == cells.keys()
        for name, (mean, low, high) in drawn.items():
            assert cells[name].startswith(f"{mean:.3f} ± ")
            assert cells[name].endswith(f"\n[{low:.3f}, {high:.3f}]")


def _drawn(panel: Panel) -> dict[str, tuple[float, float, float]]:
    """Return the mark and the ends of the bar of each method and calibration."""
    axes = new_figure(3, 3).subplots()
    panel.draw(axes)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    found = {}
    for bars in axes.containers:
        assert isinstance(bars, ErrorbarContainer)
        suffix = "" if bars.get_label() == "uncalibrated" else f" + {bars.get_label()}"
        marks, _, (intervals,) = bars.lines
        assert marks is not None
        places = np.column_stack(marks.get_data())
        for (mean, row), interval in zip(places.tolist(), intervals.get_segments(), strict=True):
            found[labels[round(row)] + suffix] = (mean, *map(float, interval[:, 0]))
    return found
