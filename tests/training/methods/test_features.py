"""Features of questions do not depend on order and batch; classes for the distances."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rich.console import Console

from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.token_batch import collate
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.methods.base import Fitting
from uq4ct.training.methods.features import read_features
from uq4ct.training.methods.mahalanobis import _classes

ANSWERS = [2, 0, 4, 1]


def fitting_of(model: Any, questions: Any, batch_tokens: int) -> Fitting:
    encoded = [model.scorer.encode(question) for question in questions]
    train = [TrainingQuestion(one, answer) for one, answer in zip(encoded, ANSWERS, strict=True)]
    return Fitting(model, [], [], train, [], batch_tokens, 0, Console(quiet=True))


@pytest.mark.parametrize("scoring", [LetterConfig(), ClozeConfig()])
@pytest.mark.parametrize("batch_tokens", [1, 100_000])
def test_rows_stand_in_the_questions_order(
    scoring: Any, batch_tokens: int, tiny_base: Any, make_model: Any, questions: Any
) -> None:
    model = make_model(tiny_base, scoring, experts=1, top_k=1)
    fitting = fitting_of(model, questions, batch_tokens)
    read = read_features(fitting, fitting.train, "features")
    assert read.options.tolist() == [3, 2, 5, 4]
    assert read.wrong.tolist() == (read.logits.argmax(dim=-1) != torch.tensor(ANSWERS)).tolist()
    for index, question in enumerate(fitting.train):
        with torch.no_grad():
            output, features = model.run_with_features(model.plan(collate([question.encoded])))
        count = question.encoded.options
        torch.testing.assert_close(read.logits[index, :count], output.logits[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(read.features[index, :count], features[0], rtol=0, atol=1e-5)
        assert read.logits[index, count:].isneginf().all()


def test_classes_of_letters_and_of_options(tiny_base: Any, make_model: Any, questions: Any) -> None:
    """The classes are the right letter of each question, or right and wrong for each option that is present."""
    model = make_model(tiny_base, experts=1, top_k=1)
    fitting = fitting_of(model, questions, 100_000)
    read = read_features(fitting, fitting.train, "features")
    features, classes = _classes(read, per_option=False)
    assert classes.tolist() == ANSWERS
    assert torch.equal(features, read.features[:, 0])
    features, classes = _classes(read, per_option=True)
    assert classes.tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0]
    assert torch.equal(features[2], read.features[0, 2])
    assert torch.equal(features[3], read.features[1, 0])
