"""Records in a prompt are short, and in a notebook they are tables."""

from __future__ import annotations

import html.parser
from typing import Any

import pytest

from tests.service.client.scripted_service import PREDICTION
from tests.service.client.test_client import CALIBRATION, MODEL
from uq4ct.client import Calibration, ModelCard, ModelList, Prediction
from uq4ct.service.client.calibration_records import LabelledScores
from uq4ct.service.client.record import Record

NASTY = "<script>alert('x')</script> & co"


def calibration(models: int, points: int = 400) -> Calibration:
    """A report of the size that a service in use returns."""
    (cohort,) = CALIBRATION["models"]  # type: ignore[misc]
    labelled = cohort["labelled"] | {
        "curve": cohort["labelled"]["curve"] * points,
        "bins": cohort["labelled"]["bins"] * 15,
    }
    alarm = cohort["sequential"][0] | {"alarm": True, "test": "overconfident"}
    several = [
        cohort | {"model": f"toy@{number}", "labelled": labelled, "sequential": [*cohort["sequential"], alarm]}
        for number in range(1, models + 1)
    ]
    return Calibration.model_validate(CALIBRATION | {"models": several})


def model_list(count: int) -> ModelList:
    models = [
        MODEL | {"version": number, "scores": {str(key): [0.5] * 99 for key in range(40)}} for number in range(count)
    ]
    damaged = [{"name": NASTY, "version": None, "aliases": ["old"], "error": "unreadable"}]
    return ModelList.model_validate({"models": models, "damaged": damaged, "next": None})


class Cells(html.parser.HTMLParser):
    """The cells of a table, and all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_a_calibration_is_one_line_with_window_labels_scores_and_alarms() -> None:
    assert repr(calibration(1)) == (
        "Calibration(2026-01-01 00:00 to 2026-01-02 00:00; toy@1: predictions 2, labels 1, accuracy 1.000, ECE 0.300, "
        "Brier score 0.090, alarms: overconfident)"
    )
    assert repr(calibration(50)).endswith("alarms: overconfident; and 47 more)")
    assert repr(calibration(0)) == "Calibration(2026-01-01 00:00 to 2026-01-02 00:00; no predictions)"


@pytest.mark.parametrize(
    "record",
    [
        calibration(50),
        calibration(1).models[0],
        calibration(1).models[0].labelled,
        model_list(500),
        model_list(1).models[0],
        ModelCard.model_validate(
            MODEL
            | {"scores": {str(key): key for key in range(99)}, "reference_histograms": {"confidence": [1] * 99}}
            | {key: {"curve": [0.1] * 99} for key in ("posterior", "calibration", "decisions", "batch_company")}
            | dict.fromkeys(("scores_before", "scores_untrained"))
        ),
        Prediction.model_validate(PREDICTION | {"probabilities": [{"label": "A", "probability": 0.0}] * 26}),
    ],
)
def test_no_large_record_takes_more_than_a_few_lines(record: Record) -> None:
    assert len(repr(record)) < 500
    assert len(str(record)) < 500
    assert "\n" not in repr(record)


def test_a_small_record_still_shows_its_fields() -> None:
    scores = calibration(1).models[0].labelled
    assert isinstance(scores, LabelledScores)
    assert repr(scores.bins[0].accuracy_interval) == "Interval(low=0.2, high=1.0)"
    assert "ece=0.3, ece_noise_floor=NoiseFloor(mean=0.4, p95=0.7)" in repr(scores)
    assert repr(scores).endswith("bins=<15 entries>, curve=<400 entries>)")


def test_a_prediction_shows_what_to_act_on() -> None:
    shown = repr(Prediction.model_validate(PREDICTION | {"abstain": True}))
    assert shown == (
        f"Prediction(B 'Paris', confidence {PREDICTION['confidence']:.4f}, abstain=True, "
        f"model='{PREDICTION['model']}', prediction_id='{PREDICTION['prediction_id']}')"
    )
    assert repr(model_list(4)) == "ModelList(4 models: toy@0, toy@1, toy@2, and 1 more; 1 damaged)"


def test_tables_of_a_notebook_hold_the_numbers() -> None:
    cells = Cells(calibration(2)._repr_html_()).cells
    assert cells[0] == "Calibration, 2026-01-01 00:00 to 2026-01-02 00:00"
    assert cells[-7:] == ["toy@2", "2", "1", "1.000", "0.300", "0.090", "overconfident"]
    assert Cells(model_list(1)._repr_html_()).cells[-3:] == ["False", "False", "unreadable"]
    prediction = Prediction.model_validate(PREDICTION)
    shown = Cells(prediction._repr_html_()).cells
    for one in prediction.probabilities:
        assert shown[shown.index(one.label) + 1] == f"{one.probability:.4f}"


@pytest.mark.parametrize(
    "record",
    [
        Prediction.model_validate(
            PREDICTION | {"model": NASTY, "option": {"index": 1, "label": "B", "text": NASTY}, "abstain": True}
        ),
        Calibration.model_validate(
            CALIBRATION | {"models": [calibration(1).models[0].model_dump() | {"model": NASTY}]}
        ),
        model_list(1),
    ],
)
def test_texts_of_others_are_no_html(record: Any) -> None:
    parsed = Cells(record._repr_html_())
    assert parsed.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert NASTY in "".join(parsed.cells)
