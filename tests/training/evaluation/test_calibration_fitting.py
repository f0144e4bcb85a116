"""A calibration says whether it is weak: fitted on few questions, or at a bound."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console

from uq4ct.model_store.calibrations import Calibration, NoCalibration
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.questions import Question
from uq4ct.model_store.uncertainty.soft_targets import FEWEST_QUESTIONS
from uq4ct.training.evaluation.calibration_fitting import (
    WeakCalibrationError,
    check_strength,
    describe_weakness,
    fit_calibration,
    warn_if_weak,
)
from uq4ct.training.run_config import CalibrationName

NAMES: tuple[CalibrationName, ...] = ("temperature", "platt", "isotonic", "feu_temperature")


def fitted(name: CalibrationName, count: int, margin: float = 1.0) -> Calibration:
    """A calibration of a model that gives the right one of two options odds of exp(margin), 9 times of 10."""
    logits = torch.zeros(1, count, 2)
    logits[..., 0] = margin
    questions = [Question(f"{i}", f"Question {i}?", ("a", "b"), answer=int(i % 10 == 9)) for i in range(count)]
    samples = CandidateSamples(logits, torch.linspace(0.3, 0.6, count))
    return fit_calibration(name, samples, questions)


@pytest.mark.parametrize("name", NAMES)
def test_too_few_questions_make_a_calibration_weak(name: CalibrationName) -> None:
    few, enough = fitted(name, FEWEST_QUESTIONS - 1), fitted(name, FEWEST_QUESTIONS)
    assert describe_weakness(few) == f"calibration {name} is weak: it is fitted on 29 questions, fewer than 30"
    with pytest.raises(WeakCalibrationError, match=r"--calibration none, or with --allow-weak-calibration"):
        check_strength(few)
    assert describe_weakness(enough) is None
    check_strength(enough)


@pytest.mark.parametrize("name", ["temperature", "feu_temperature"])
def test_a_fit_at_its_bound_is_weak_on_any_number_of_questions(name: CalibrationName) -> None:
    """Odds of exp(0.01) would have to become odds of 9."""
    found = fitted(name, 400, margin=0.01)
    assert describe_weakness(found) == f"calibration {name} is weak: it ended at a bound of its parameters"
    with pytest.raises(WeakCalibrationError, match="ended at a bound"):
        check_strength(found)


def test_no_calibration_is_not_weak() -> None:
    assert describe_weakness(NoCalibration()) is None


def test_the_warning_is_one_line() -> None:
    console = Console(record=True, width=60)
    warn_if_weak(fitted("temperature", 12), console)
    warn_if_weak(fitted("temperature", 40), console)
    assert console.export_text() == (
        "warning: calibration temperature is weak: it is fitted on 12 questions, fewer than 30\n"
    )
