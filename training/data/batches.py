"""Training questions in batches of similar length, in an order that seed and epoch determine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from uq4ct.model_store.scoring.encoding import EncodedQuestion, TokenBatch, collate

T = TypeVar("T")

BUCKET_BATCHES = 8  # batches drawn together and sorted by length: less padding, but still a new order every epoch


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """An encoded question, its answer, and whether it is held out from the cross entropy."""

    encoded: EncodedQuestion
    answer: int
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """One forward's part of an optimizer step.

    `answers` [B], `held_out` bool [B]; `step_trained` and `step_held_out` count the questions of the whole step, so
    that losses summed over its forwards are means over the step.
    """

    tokens: TokenBatch
    answers: Tensor
    held_out: Tensor
    step_trained: int
    step_held_out: int

    @property
    def step_share(self) -> float:
        """The share of the step's questions that are in this forward."""
        return len(self.answers) / (self.step_trained + self.step_held_out)

    def to(self, device: torch.device) -> TrainingBatch:
        """The batch on a device."""
        return TrainingBatch(
            self.tokens.to(device),
            self.answers.to(device),
            self.held_out.to(device),
            self.step_trained,
            self.step_held_out,
        )


def count_steps(held_out: Sequence[int], batch_questions: int) -> int:
    """Return the number of optimizer steps of an epoch; `held_out` as in `epoch_steps`."""
    return -(-sum(not held for held in held_out) // batch_questions)


def epoch_steps(
    lengths: Sequence[int], held_out: Sequence[int], batch_questions: int, seed: int, epoch: int
) -> list[list[int]]:
    """Return the indices of the questions of each optimizer step of an epoch; the last batch may be smaller.

    Each question is in one step. Those with a true value in `held_out` are spread evenly over the steps, on top of
    `batch_questions`; `lengths` are in tokens.
    """
    order = random.Random(f"{seed}/{epoch}")
    trained = [index for index, held in enumerate(held_out) if not held]
    extra = [index for index, held in enumerate(held_out) if held]
    order.shuffle(trained)
    order.shuffle(extra)
    steps = [
        step
        for bucket in _chunks(trained, batch_questions * BUCKET_BATCHES)
        for step in _chunks(sorted(bucket, key=lengths.__getitem__), batch_questions)
    ]
    order.shuffle(steps)
    return [[*step, *extra[index :: len(steps)]] for index, step in enumerate(steps)]


def forwards(step: Sequence[TrainingQuestion], accumulation: int) -> Iterator[TrainingBatch]:
    """Yield the forwards of one optimizer step, each with questions of similar length."""
    ordered = sorted(step, key=lambda question: question.encoded.length)
    held_out = sum(question.held_out for question in step)
    for part in _chunks(ordered, -(-len(ordered) // accumulation)):
        yield TrainingBatch(
            tokens=collate([question.encoded for question in part]),
            answers=torch.tensor([question.answer for question in part]),
            held_out=torch.tensor([question.held_out for question in part]),
            step_trained=len(step) - held_out,
            step_held_out=held_out,
        )


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
