"""One forward of a batch of tickets, and how to split a batch whose forward failed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain, groupby
from operator import attrgetter

from uq4ct.service.engine.failures import ForwardFailedError
from uq4ct.service.engine.loaded import LoadedAdapter
from uq4ct.service.engine.predictor import Answer, Served, UnusableAnswerError, check_answer
from uq4ct.service.engine.waiting import Ticket

logger = logging.getLogger(__name__)


def halves(batch: list[Ticket]) -> list[list[Ticket]]:
    """Return both halves of a batch, or the batch if it has one question."""
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]] if middle else [batch]


def by_adapter(batch: list[Ticket]) -> Iterator[tuple[LoadedAdapter, Iterator[Ticket]]]:
    """Yield each adapter with its tickets, which are neighbours."""
    return groupby(batch, attrgetter("adapter"))


def run_forward(batch: list[Ticket]) -> list[Served | Exception]:
    """Run one forward of a batch through its adapter, or through its adapters."""
    parts = [(adapter.predictor, [ticket.encoded for ticket in own]) for adapter, own in by_adapter(batch)]
    (first, encoded), *others = parts
    answers = list(chain(*first.answer_with(encoded, others))) if others else first.answer(encoded)
    if len(answers) != len(batch):
        raise UnusableAnswerError(f"got {len(answers)} answers for {len(batch)} questions")
    return [_checked(ticket, answer) for ticket, answer in zip(batch, answers, strict=True)]


def _checked(ticket: Ticket, answer: Answer) -> Served | Exception:
    """Return the answer with its adapter's manifest, or an error if it must not be served."""
    try:
        check_answer(answer, ticket.options)
    except UnusableAnswerError as error:
        logger.error("answer rejected", extra={"error": str(error)})
        return ForwardFailedError("the model returned an unusable answer")
    return Served(answer, ticket.adapter.manifest)
