"""Batches of questions to several adapters on one base model, answered in one forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise

import torch
from torch import Tensor

from uq4ct.model_store.adapted_model import CandidateOutput, ForwardPlan
from uq4ct.model_store.adapters.segments import Segments
from uq4ct.model_store.answers import Answer
from uq4ct.model_store.posteriors.samples import CandidateSamples, SharedPass
from uq4ct.model_store.predictor import Predictor, answers_from_samples
from uq4ct.model_store.scoring import score_together
from uq4ct.model_store.token_batch import EncodedQuestion, collate

Part = tuple[Predictor, Sequence[EncodedQuestion]]


def company_of(predictor: Predictor) -> str | None:
    """Return what predictors on one base model must have in common to answer one batch; None: only alone.

    Their adapters have the same shape and mixing rule, their scoring reads the same states, and their posteriors need
    one forward through unchanged weights.
    """
    if not isinstance(predictor.posterior, SharedPass) or not predictor.posterior.shareable:
        return None
    model = predictor.model
    shape = model.config.model_copy(update={"dropout": 0.0})
    return f"{model.scorer.company}, {shape.model_dump_json()}"


def answer_together(parts: Sequence[Part]) -> list[list[Answer]]:
    """Answer the questions of several predictors with the same company in one forward, in order.

    An answer differs from the one of its predictor alone by as much as other questions in its batch make it differ.

    Raises:
        ValueError: the predictors differ in their company.
    """
    predictors = [predictor for predictor, _ in parts]
    companies = {company_of(predictor) for predictor in predictors}
    if len(companies) != 1 or None in companies:
        raise ValueError(f"predictors of {len(companies)} kinds cannot share a forward")
    posteriors = [one.posterior for one in predictors if isinstance(one.posterior, SharedPass)]
    counts = [len(encoded) for _, encoded in parts]
    plan = predictors[0].model.plan(collate([question for _, encoded in parts for question in encoded]))
    with torch.inference_mode():
        output, features = _forward(parts, counts, plan, any(one.needs_features for one in posteriors))
        samples = [
            _read(posterior, output, features, plan.scoring.options[rows], _most_options(encoded), rows)
            for posterior, (_, encoded), rows in zip(posteriors, parts, _runs(counts), strict=True)
        ]
    return [
        answers_from_samples(own.on_cpu(), [question.options for question in encoded], predictor.calibration)
        for (predictor, encoded), own in zip(parts, samples, strict=True)
    ]


def _forward(
    parts: Sequence[Part], counts: Sequence[int], plan: ForwardPlan, with_features: bool
) -> tuple[CandidateOutput, Tensor | None]:
    models = [predictor.model for predictor, _ in parts]
    tokens = [sum(plan.layout.question_tokens[rows]) for rows in _runs(counts)]
    first = models[0]
    hidden, routing = first.decode(plan, segments=Segments([model.adapter for model in models], tokens))
    logits = score_together([model.scorer for model in models], counts, hidden, plan.scoring, first.head)
    features = plan.scoring.features(hidden) if with_features else None
    return first.output(plan, logits, routing), features


def _read(
    posterior: SharedPass, output: CandidateOutput, features: Tensor | None, options: Tensor, width: int, rows: slice
) -> CandidateSamples:
    """Return the samples of one predictor's rows, as wide as the options of its own questions."""
    return posterior.read_samples(
        output.logits[rows, :width],
        None if output.feu is None else output.feu[rows],
        None if features is None else features[rows, :width],
        options,
    )


def _most_options(encoded: Sequence[EncodedQuestion]) -> int:
    return max(question.options for question in encoded)


def _runs(counts: Sequence[int]) -> Iterator[slice]:
    """Yield the runs of these lengths, one after the other."""
    return (slice(start, stop) for start, stop in pairwise(chain([0], accumulate(counts))))
