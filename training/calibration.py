"""A trained model on its splits: raw samples, the temperature fitted on the fit split, the effect of batch company."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.progress import Progress

from model_store.base_identity import DtypeName
from model_store.posteriors import CandidateSamples
from model_store.predictor import Answer, Predictor, score_in_batches
from model_store.questions import Question
from model_store.storage.manifest import BatchCompany, TemperatureCalibration
from model_store.uncertainty.temperature import fit_temperature
from training.evaluation import STATISTICS, answers_of, right_options, score_answers

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


def fit_calibration(samples: CandidateSamples, questions: Sequence[Question]) -> TemperatureCalibration:
    """The temperature of lowest NLL on the fit split."""
    temperature = fit_temperature(samples.logits, right_options(questions)).value

    def nll(value: float) -> float:
        scored = score_answers(answers_of(samples, questions, value), questions)
        return STATISTICS["nll"](scored)(torch.arange(len(questions)))

    return TemperatureCalibration(
        value=temperature, questions=len(questions), nll_before=nll(1.0), nll_after=nll(temperature)
    )


def measure_batch_company(
    predictor: Predictor,
    questions: Sequence[Question],
    together: Sequence[Answer],
    temperature: float,
    dtype: DtypeName,
    console: Console,
) -> BatchCompany:
    """How far answers given in company differ from the same questions answered alone.

    The first questions of the split are asked again, one a batch; `together` are the answers of the whole split.
    """
    chosen = list(questions[:COMPANY_QUESTIONS])
    alone = answers_of(sample_split(predictor, chosen, 1, console, "one by one"), chosen, temperature)
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
