"""Raw samples of a split, and how much the other questions of a batch change them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from uq4ct.model_store.answers import Answer
from uq4ct.model_store.base.identity import DtypeName
from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.predictor import Predictor, score_in_batches
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.manifest import BatchCompany
from uq4ct.model_store.token_batch import EncodedQuestion
from uq4ct.training.console import count_up
from uq4ct.training.data.source import DataError
from uq4ct.training.evaluation.scores import answers_of

COMPANY_QUESTIONS = 200  # enough to find the largest change of a probability, few enough to run one by one


def sample_split(
    predictor: Predictor, questions: Sequence[Question], batch_tokens: int, console: Console, title: str
) -> CandidateSamples:
    """Return the uncalibrated samples of a split, with a progress bar.

    Raises:
        DataError: a question is longer than the limit, or the tokenizer merges an option with the text before it.
    """
    encoded = [_encode(predictor, question) for question in questions]
    with count_up(console, title, len(encoded)) as advance:
        return score_in_batches(predictor.candidate_samples, encoded, batch_tokens, advance)


def _encode(predictor: Predictor, question: Question) -> EncodedQuestion:
    try:
        return predictor.encode(question)
    except (QuestionTooLongError, QuestionError) as error:
        raise DataError(f"question {question.id!r}: {error}") from error


def measure_batch_company(
    predictor: Predictor,
    questions: Sequence[Question],
    together: Sequence[Answer],
    calibration: Calibration,
    dtype: DtypeName,
    console: Console,
) -> BatchCompany:
    """Measure how much answers change when a question shares its batch with others.

    The first questions of the split are answered again, one per batch; `together` are the answers of the whole split.
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
