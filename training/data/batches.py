"""Training questions in batches of similar length, in an order that seed and epoch determine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from uq4ct.model_store.index_plan import IndexPlan
from uq4ct.model_store.token_batch import EncodedQuestion, TokenBatch, collate

T = TypeVar("T")

BUCKET_BATCHES = 8  # batches drawn together and sorted by length: less padding, but still a new order every epoch


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """An encoded question, its answer, and whether it is held out from the cross entropy."""

    encoded: EncodedQuestion
    answer: int
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class Targets(IndexPlan):
    """The `answers` [B] of a forward's questions, and `held_out` [B], 1 where the calibration loss alone uses one."""

    answers: Tensor
    held_out: Tensor


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """One forward's part of an optimizer step: `tokens` on the host, `targets` where the model is.

    `step_trained` and `step_held_out` count the questions of the whole step, so that losses summed over its forwards
    are means over the step.
    """

    tokens: TokenBatch
    targets: Targets
    step_trained: int
    step_held_out: int

    @property
    def answers(self) -> Tensor:
        """The index of the right option of each question: [B]."""
        return self.targets.answers

    @property
    def held_out(self) -> Tensor:
        """Whether a question is held out from the cross entropy: bool [B]."""
        return self.targets.held_out.bool()

    @property
    def step_share(self) -> float:
        """The share of the step's questions that are in this forward."""
        return len(self.answers) / (self.step_trained + self.step_held_out)

    def to(self, device: torch.device) -> TrainingBatch:
        """Return the batch with its targets on a device."""
        return replace(self, targets=self.targets.to(device))


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


def forwards(
    step: Sequence[TrainingQuestion], accumulation: int, most_tokens: int | None = None
) -> Iterator[TrainingBatch]:
    """Yield the forwards of one optimizer step, with the questions of `split_step`."""
    held_out = sum(question.held_out for question in step)
    for part in split_step(step, accumulation, most_tokens):
        yield TrainingBatch(
            tokens=collate([question.encoded for question in part]),
            targets=Targets(
                torch.tensor([question.answer for question in part]),
                torch.tensor([int(question.held_out) for question in part]),
            ),
            step_trained=len(step) - held_out,
            step_held_out=held_out,
        )


def split_step(
    step: Sequence[TrainingQuestion], accumulation: int, most_tokens: int | None = None
) -> Iterator[Sequence[TrainingQuestion]]:
    """Yield the questions of each forward of one optimizer step, by length.

    There are `accumulation` forwards, or more if one would have over `most_tokens` tokens. A question that is longer
    has a forward of its own.
    """
    ordered = sorted(step, key=lambda question: question.encoded.length)
    for chunk in _chunks(ordered, -(-len(ordered) // accumulation)):
        yield from _split_by_tokens(chunk, most_tokens)


def _split_by_tokens(
    questions: Sequence[TrainingQuestion], most_tokens: int | None
) -> Iterator[Sequence[TrainingQuestion]]:
    part: list[TrainingQuestion] = []
    tokens = 0
    for question in questions:
        if part and most_tokens is not None and tokens + question.encoded.length > most_tokens:
            yield part
            part, tokens = [], 0
        part.append(question)
        tokens += question.encoded.length
    yield part


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
