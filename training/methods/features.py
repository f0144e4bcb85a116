"""Logits and features of questions in a finished run, for the methods that are fitted on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from uq4ct.model_store.predictor import batches_by_length
from uq4ct.model_store.token_batch import collate
from uq4ct.training.console import count_up
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.methods.base import Fitting


@dataclass(frozen=True, slots=True)
class ScoredQuestions:
    """`logits` [n, C], -inf at absent options, `features` [n, C, d] in fp32, the number of `options` and the right
    `answers` [n], on the CPU."""

    logits: Tensor
    features: Tensor
    options: Tensor
    answers: Tensor

    @property
    def wrong(self) -> Tensor:
        """Whether the most probable option is not the right one, bool [n]."""
        return self.logits.argmax(dim=-1) != self.answers

    def rows(self, index: Tensor) -> ScoredQuestions:
        """Some of the questions."""
        return ScoredQuestions(self.logits[index], self.features[index], self.options[index], self.answers[index])


@torch.no_grad()
def read_features(fitting: Fitting, questions: Sequence[TrainingQuestion], title: str) -> ScoredQuestions:
    """Run questions through the model as in serving; this freezes it."""
    model = fitting.model
    model.freeze()
    encoded = [question.encoded for question in questions]
    options = torch.tensor([question.options for question in encoded])
    width = cast(nn.Linear, model.tuner.model.get_output_embeddings()).in_features
    logits = torch.full((len(encoded), int(options.max())), -torch.inf)
    features = torch.zeros(*logits.shape, width)
    with count_up(fitting.console, title, len(encoded)) as advance:
        for batch in batches_by_length(encoded, fitting.batch_tokens):
            tokens = collate([encoded[index] for index in batch])
            output, read = model.run_with_features(model.plan(tokens))
            count = output.logits.shape[1]
            logits[batch, :count] = output.logits.cpu()
            features[batch, :count] = read.cpu()
            advance(len(batch))
    return ScoredQuestions(logits, features, options, torch.tensor([question.answer for question in questions]))
