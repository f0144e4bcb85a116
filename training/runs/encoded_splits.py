"""The questions of a run's splits, encoded for training with their answers, some held out for FEU."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rich.console import Console

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.scoring.encoding import EncodedQuestion, QuestionTooLongError
from uq4ct.training.console import say
from uq4ct.training.data.answers import right_options
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.data.source import DataError
from uq4ct.training.data.splits import Splits
from uq4ct.training.losses import LossConfig
from uq4ct.training.run_config import ConfigError, RunConfig


def encode_train(
    train: Sequence[Question], model: AdaptedModel, config: RunConfig, console: Console
) -> list[TrainingQuestion]:
    """Encode the training split; questions that cannot be tokenised as required are left out, with a message.

    These are longer than the token limit, or have an option that the tokenizer merges with the text before it.

    Raises:
        ConfigError: no questions are left to train on.
    """
    held_out = _held_out(train, config.loss, config.training.seed)
    right = right_options(train).tolist()
    encoded: list[TrainingQuestion] = []
    too_long: list[str] = []
    merged: list[str] = []
    for question, answer in zip(train, right, strict=True):
        try:
            encoded.append(TrainingQuestion(model.scorer.encode(question), answer, question.id in held_out))
        except QuestionTooLongError:
            too_long.append(question.id)
        except QuestionError as error:
            merged.append(f"{question.id!r} ({error})")
    if merged:
        say(console, f"{len(merged)} training questions left out because of an option, the first is {merged[0]}")
    if too_long:
        limit = model.scorer.token_limit
        say(console, f"{len(too_long)} training questions over {limit} tokens left out, the first is {too_long[0]!r}")
    if all(question.held_out for question in encoded):
        raise ConfigError("data: no training question is left")
    return encoded


def encode_fit(fit: Sequence[Question], model: AdaptedModel) -> list[TrainingQuestion]:
    """Encode the fit split, from which no question may be left out.

    Raises:
        ConfigError: a question is longer than the token limit.
        DataError: the tokenizer merges an option with the text before it.
    """
    right = right_options(fit).tolist()
    return [TrainingQuestion(_encode(model, question), answer) for question, answer in zip(fit, right, strict=True)]


def check_questions(splits: Splits, model: AdaptedModel) -> None:
    """Check before hours of training that every question of the later splits can be tokenised; none may be left out.

    Raises:
        ConfigError: a question of a split other than train and fit is longer than the token limit.
        DataError: the tokenizer merges an option of one with the text before it.
    """
    for questions in (splits.guarantee, splits.test, *splits.shift.values()):
        for question in questions:
            _encode(model, question)


def _encode(model: AdaptedModel, question: Question) -> EncodedQuestion:
    try:
        return model.scorer.encode(question)
    except QuestionTooLongError as error:
        raise ConfigError(f"scoring.max_tokens: question {question.id!r}: {error}") from error
    except QuestionError as error:
        raise DataError(f"question {question.id!r}: {error}") from error


def _held_out(train: Sequence[Question], loss: LossConfig, seed: int) -> set[str]:
    """Return the ids of the questions that only the calibration loss uses."""
    if loss.indicator == "training":
        return set()
    ids = sorted(question.id for question in train)
    return set(random.Random(f"held out {seed}").sample(ids, max(1, round(len(ids) * loss.held_out_share))))
