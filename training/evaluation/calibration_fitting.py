"""The calibration of a trained model, fitted on the fit split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from torch import Tensor

from uq4ct.model_store.calibrations import (
    Calibration,
    FeuTemperatureCalibration,
    IsotonicCalibration,
    NoCalibration,
    NoRoutersError,
    PlattCalibration,
    TemperatureCalibration,
)
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.questions import Question
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.feu_temperature import fit_feu_temperature
from uq4ct.model_store.uncertainty.isotonic import fit_isotonic
from uq4ct.model_store.uncertainty.platt import fit_platt
from uq4ct.model_store.uncertainty.soft_targets import FEWEST_QUESTIONS
from uq4ct.model_store.uncertainty.temperature import fit_temperature
from uq4ct.training.console import say
from uq4ct.training.data.answers import right_options
from uq4ct.training.evaluation.scores import answers_of, mean_nll, score_answers
from uq4ct.training.run_config import CalibrationName, ConfigError


class WeakCalibrationError(UserError):
    """A calibration that was fitted on too few questions, or that ended at a bound; nothing is stored."""


def fit_calibration(name: CalibrationName, samples: CandidateSamples, questions: Sequence[Question]) -> Calibration:
    """Return the calibration of that name with the lowest NLL on the fit split.

    Raises:
        ConfigError: the adapter lacks the routers that it needs, or it cannot be fitted on the fit split.
    """
    if name == "none":
        return NoCalibration()
    if name == "feu_temperature" and samples.feu is None:
        raise ConfigError("calibration: feu_temperature needs routers, but the adapter has none")
    try:
        draft = _FITS[name](samples, right_options(questions))
    except ValueError as error:
        raise ConfigError(f"calibration: {name} cannot be fitted on {len(questions)} fit questions: {error}") from error
    nll = _nll(draft, samples, questions)
    return draft.model_copy(update={"nll_before": _nll(NoCalibration(), samples, questions), "nll_after": nll})


def describe_weakness(calibration: Calibration) -> str | None:
    """Say in a clause why a calibration should not be trusted; None if there is no reason."""
    if isinstance(calibration, NoCalibration):
        return None
    reasons = []
    if calibration.questions < FEWEST_QUESTIONS:
        reasons.append(f"it is fitted on {calibration.questions} questions, fewer than {FEWEST_QUESTIONS}")
    if calibration.at_bound:
        reasons.append("it ended at a bound of its parameters")
    return f"calibration {calibration.kind} is weak: {' and '.join(reasons)}" if reasons else None


def warn_if_weak(calibration: Calibration, console: Console) -> None:
    """Print one line if the calibration is weak."""
    weakness = describe_weakness(calibration)
    if weakness is not None:
        say(console, f"warning: {weakness}")


def check_strength(calibration: Calibration) -> None:
    """Raise WeakCalibrationError, which says what to do, if the calibration is weak."""
    weakness = describe_weakness(calibration)
    if weakness is not None:
        raise WeakCalibrationError(
            f"{weakness}; nothing is stored: add calibration questions, or publish with --calibration none, or with "
            "--allow-weak-calibration to store it all the same"
        )


def _fit_temperature(samples: CandidateSamples, answers: Tensor) -> TemperatureCalibration:
    found = fit_temperature(samples.logits, answers)
    return TemperatureCalibration(value=found.value, **_unmeasured(answers, at_bound=found.at_bound))


def _fit_feu_temperature(samples: CandidateSamples, answers: Tensor) -> FeuTemperatureCalibration:
    if samples.feu is None:
        raise NoRoutersError("a temperature by FEU needs FEU")
    found = fit_feu_temperature(samples.logits, samples.feu, answers)
    at_bound = found.at_bound(samples.logits, samples.feu)
    return FeuTemperatureCalibration(**asdict(found), **_unmeasured(answers, at_bound=at_bound))


def _fit_platt(samples: CandidateSamples, answers: Tensor) -> PlattCalibration:
    found = fit_platt(mean_probabilities(samples.logits), answers)
    return PlattCalibration(**asdict(found), **_unmeasured(answers, at_bound=found.at_bound))


def _fit_isotonic(samples: CandidateSamples, answers: Tensor) -> IsotonicCalibration:
    found = fit_isotonic(mean_probabilities(samples.logits), answers)
    return IsotonicCalibration(**asdict(found), **_unmeasured(answers, at_bound=False))


_FITS = {
    "temperature": _fit_temperature,
    "platt": _fit_platt,
    "isotonic": _fit_isotonic,
    "feu_temperature": _fit_feu_temperature,
}


def _unmeasured(answers: Tensor, *, at_bound: bool) -> dict[str, Any]:
    return {"questions": len(answers), "nll_before": 0.0, "nll_after": 0.0, "at_bound": at_bound}


def _nll(calibration: Calibration, samples: CandidateSamples, questions: Sequence[Question]) -> float:
    return mean_nll(score_answers(answers_of(samples, questions, calibration), questions))
