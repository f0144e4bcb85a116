"""The questions of a run's splits, encoded for training with their answers, some held out for FEU."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rich.console import Console

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.encoding import EncodedQuestion, QuestionTooLongError
from uq4ct.training.console import say
from uq4ct.training.data.answers import right_options
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.data.splits import Splits
from uq4ct.training.losses import LossConfig
from uq4ct.training.run_config import ConfigError, RunConfig


def encode_train(
    train: Sequence[Question], model: AdaptedModel, config: RunConfig, console: Console
) -> list[TrainingQuestion]:
    """Encode the training split; questions over the token limit are left out, with a message.

    Raises:
        ConfigError: no questions are left to train on.
    """
    held_out = _held_out(train, config.loss, config.training.seed)
    right = right_options(train).tolist()
    encoded: list[TrainingQuestion] = []
    too_long: list[str] = []
    for question, answer in zip(train, right, strict=True):
        try:
            encoded.append(TrainingQuestion(model.scorer.encode(question), answer, question.id in held_out))
        except QuestionTooLongError:
            too_long.append(question.id)
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
    """
    right = right_options(fit).tolist()
    return [TrainingQuestion(_encode(model, question), answer) for question, answer in zip(fit, right, strict=True)]


def check_lengths(splits: Splits, model: AdaptedModel) -> None:
    """Check before hours of training that no question of the later splits is too long; none may be left out.

    Raises:
        ConfigError: a question of a split other than train and fit is longer than the token limit.
    """
    for questions in (splits.guarantee, splits.test, *splits.shift.values()):
        for question in questions:
            _encode(model, question)


def _encode(model: AdaptedModel, question: Question) -> EncodedQuestion:
    try:
        return model.scorer.encode(question)
    except QuestionTooLongError as error:
        raise ConfigError(f"scoring.max_tokens: question {question.id!r}: {error}") from error


def _held_out(train: Sequence[Question], loss: LossConfig, seed: int) -> set[str]:
    """Return the ids of the questions that only the calibration loss uses."""
    if loss.indicator == "training":
        return set()
    ids = sorted(question.id for question in train)
    return set(random.Random(f"held out {seed}").sample(ids, max(1, round(len(ids) * loss.held_out_share))))
