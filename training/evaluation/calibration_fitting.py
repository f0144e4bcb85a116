"""The calibration of a trained model, fitted on the fit split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

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
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.questions import Question
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.feu_temperature import fit_feu_temperature
from uq4ct.model_store.uncertainty.isotonic import fit_isotonic
from uq4ct.model_store.uncertainty.platt import fit_platt
from uq4ct.model_store.uncertainty.temperature import fit_temperature
from uq4ct.training.data.answers import right_options
from uq4ct.training.evaluation.scores import answers_of, mean_nll, score_answers
from uq4ct.training.run_config import CalibrationName, ConfigError


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


def _fit_temperature(samples: CandidateSamples, answers: Tensor) -> TemperatureCalibration:
    return TemperatureCalibration(value=fit_temperature(samples.logits, answers).value, **_unmeasured(answers))


def _fit_feu_temperature(samples: CandidateSamples, answers: Tensor) -> FeuTemperatureCalibration:
    if samples.feu is None:
        raise NoRoutersError("a temperature by FEU needs FEU")
    found = fit_feu_temperature(samples.logits, samples.feu, answers)
    return FeuTemperatureCalibration(**asdict(found), **_unmeasured(answers))


def _fit_platt(samples: CandidateSamples, answers: Tensor) -> PlattCalibration:
    return PlattCalibration(**asdict(fit_platt(mean_probabilities(samples.logits), answers)), **_unmeasured(answers))


def _fit_isotonic(samples: CandidateSamples, answers: Tensor) -> IsotonicCalibration:
    found = fit_isotonic(mean_probabilities(samples.logits), answers)
    return IsotonicCalibration(**asdict(found), **_unmeasured(answers))


_FITS = {
    "temperature": _fit_temperature,
    "platt": _fit_platt,
    "isotonic": _fit_isotonic,
    "feu_temperature": _fit_feu_temperature,
}


def _unmeasured(answers: Tensor) -> dict[str, Any]:
    return {"questions": len(answers), "nll_before": 0.0, "nll_after": 0.0}


def _nll(calibration: Calibration, samples: CandidateSamples, questions: Sequence[Question]) -> float:
    return mean_nll(score_answers(answers_of(samples, questions, calibration), questions))
