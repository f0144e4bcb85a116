"""The questions of a run's splits, encoded for training with their answers, some held out for FEU."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from rich.console import Console

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.scoring.tokenising import Encoded
from uq4ct.model_store.token_batch import EncodedQuestion
from uq4ct.training.console import say
from uq4ct.training.data.answers import right_options
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.data.source import DataError
from uq4ct.training.data.splits import Splits
from uq4ct.training.data.training_set import TrainingSet
from uq4ct.training.losses import LossConfig
from uq4ct.training.run_config import ConfigError, RunConfig

ENCODED_AT_ONCE = 512  # questions: enough for every thread, little memory


def encode_train(
    train: Sequence[Question], model: AdaptedModel, config: RunConfig, console: Console, folder: Path | None = None
) -> TrainingSet:
    """Encode the training split; questions that cannot be tokenised as required are left out, with a message.

    These are longer than the token limit, or have an option that the tokenizer merges with the text before it.

    Args:
        folder: where the tokens are kept; default: in a temporary folder.

    Raises:
        ConfigError: no questions are left to train on.
    """
    held_out = _held_out(train, config.loss, config.training.seed)
    right = right_options(train).tolist()
    too_long: list[str] = []
    merged: list[str] = []

    def encoded() -> Iterator[TrainingQuestion]:
        for (question, one), answer in zip(_encode_all(train, model), right, strict=True):
            if isinstance(one, QuestionTooLongError):
                too_long.append(question.id)
            elif isinstance(one, QuestionError):
                merged.append(f"{question.id!r} ({one})")
            else:
                yield TrainingQuestion(one, answer, question.id in held_out)

    kept = TrainingSet(encoded(), folder)
    if merged:
        say(console, f"{len(merged)} training questions left out because of an option, the first is {merged[0]}")
    if too_long:
        limit = model.scorer.token_limit
        say(console, f"{len(too_long)} training questions over {limit} tokens left out, the first is {too_long[0]!r}")
    if all(kept.held_out):
        raise ConfigError("data: no training question is left")
    return kept


def encode_fit(fit: Sequence[Question], model: AdaptedModel, folder: Path | None = None) -> TrainingSet:
    """Encode the fit split, from which no question may be left out; `folder` as in `encode_train`.

    Raises:
        ConfigError: a question is longer than the token limit.
        DataError: the tokenizer merges an option with the text before it.
    """
    right = right_options(fit).tolist()
    encoded = zip(_encode_all(fit, model), right, strict=True)
    return TrainingSet((TrainingQuestion(_required(*one), answer) for one, answer in encoded), folder)


def check_questions(splits: Splits, model: AdaptedModel) -> None:
    """Check before hours of training that every question of the later splits can be tokenised; none may be left out.

    Raises:
        ConfigError: a question of a split other than train and fit is longer than the token limit.
        DataError: the tokenizer merges an option of one with the text before it.
    """
    for questions in (splits.guarantee, splits.test, *splits.shift.values()):
        for question, encoded in _encode_all(questions, model):
            _required(question, encoded)


def _encode_all(questions: Iterable[Question], model: AdaptedModel) -> Iterator[tuple[Question, Encoded]]:
    """Yield each question with its tokens, or with the error if it cannot be encoded.

    Another thread encodes the next questions while the caller uses these; most of its work is without Python's lock.
    """
    remaining = iter(questions)
    with ThreadPoolExecutor(1) as other:
        coming: tuple[list[Question], Future[list[Encoded]]] | None = None
        while chunk := list(islice(remaining, ENCODED_AT_ONCE)):
            current, coming = coming, (chunk, other.submit(model.scorer.encode_all, chunk))
            if current is not None:
                yield from zip(current[0], current[1].result(), strict=True)
        if coming is not None:
            yield from zip(coming[0], coming[1].result(), strict=True)


def _required(question: Question, encoded: Encoded) -> EncodedQuestion:
    if isinstance(encoded, QuestionTooLongError):
        raise ConfigError(f"scoring.max_tokens: question {question.id!r}: {encoded}") from encoded
    if isinstance(encoded, QuestionError):
        raise DataError(f"question {question.id!r}: {encoded}") from encoded
    return encoded


def _held_out(train: Sequence[Question], loss: LossConfig, seed: int) -> set[str]:
    """Return the ids of the questions that only the calibration loss uses."""
    if loss.indicator == "training":
        return set()
    ids = sorted(question.id for question in train)
    return set(random.Random(f"held out {seed}").sample(ids, max(1, round(len(ids) * loss.held_out_share))))
