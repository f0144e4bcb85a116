"""Ask a predictor questions in batches: its samples and its NLL."""

from __future__ import annotations

from uq4ct.model_store.posteriors.samples import CandidateSamples
from uq4ct.model_store.predictor import Predictor, score_in_batches
from uq4ct.model_store.questions import Question
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.proper_scores import negative_log_likelihood
from uq4ct.training.data.answers import right_options


def samples_of(predictor: Predictor, questions: list[Question], batch_tokens: int) -> CandidateSamples:
    return score_in_batches(predictor.candidate_samples, [predictor.encode(q) for q in questions], batch_tokens)


def nll(predictor: Predictor, questions: list[Question]) -> float:
    probabilities = mean_probabilities(samples_of(predictor, questions, 2000).logits)
    return negative_log_likelihood(probabilities, right_options(questions)).mean().item()
