"""A trained model on its splits: raw samples, the calibration fitted on the fit split, the effect of batch company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from uq4ct.model_store.base.identity import DtypeName
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
from uq4ct.model_store.predictor import Answer, Predictor, score_in_batches
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.manifest import BatchCompany
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.feu_temperature import fit_feu_temperature
from uq4ct.model_store.uncertainty.isotonic import fit_isotonic
from uq4ct.model_store.uncertainty.platt import fit_platt
from uq4ct.model_store.uncertainty.temperature import fit_temperature
from uq4ct.training.evaluation.scores import STATISTICS, answers_of, right_options, score_answers
from uq4ct.training.run_config import CalibrationName, ConfigError

COMPANY_QUESTIONS = 200  # enough to find the largest change of a probability, few enough to run one by one


def sample_split(
    predictor: Predictor, questions: Sequence[Question], batch_tokens: int, console: Console, title: str
) -> CandidateSamples:
    """Uncalibrated samples of a split, with a progress bar.

    Raises:
        QuestionTooLongError: a question is longer than the limit.
    """
    encoded = [predictor.encode(question) for question in questions]
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=len(encoded))
        return score_in_batches(predictor.candidate_samples, encoded, batch_tokens, lambda n: bar.advance(task, n))


def fit_calibration(name: CalibrationName, samples: CandidateSamples, questions: Sequence[Question]) -> Calibration:
    """The map of that name of lowest NLL on the fit split.

    Raises:
        ConfigError: the adapter has not what the map is made of, or the fit split fixes no such map.
    """
    if name == "none":
        return NoCalibration()
    if name == "feu_temperature" and samples.feu is None:
        raise ConfigError("calibration: feu_temperature needs routers, and the adapter has none")
    try:
        draft = _FITS[name](samples, right_options(questions))
    except ValueError as error:
        raise ConfigError(f"calibration: no {name} from {len(questions)} fit questions: {error}") from error
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
    scored = score_answers(answers_of(samples, questions, calibration), questions)
    return STATISTICS["nll"](scored)(torch.arange(len(questions)))


def measure_batch_company(
    predictor: Predictor,
    questions: Sequence[Question],
    together: Sequence[Answer],
    calibration: Calibration,
    dtype: DtypeName,
    console: Console,
) -> BatchCompany:
    """How far answers given in company differ from the same questions answered alone.

    The first questions of the split are asked again, one a batch; `together` are the answers of the whole split.
    """
    chosen = list(questions[:COMPANY_QUESTIONS])
    alone = answers_of(sample_split(predictor, chosen, 1, console, "one by one"), chosen, calibration)
    pairs = list(zip(alone, together, strict=False))
    changes = [
        abs(one - other)
        for lone, company in pairs
        for one, other in zip(lone.probabilities, company.probabilities, strict=True)
    ]
    changed = sum(lone.option != company.option for lone, company in pairs)
    return BatchCompany(
        dtype=dtype,
        questions=len(pairs),
        largest_probability_change=max(changes),
        changed_option_share=changed / len(pairs),
    )
