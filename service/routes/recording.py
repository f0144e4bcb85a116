"""Store answers in the ledger, and look up earlier answers by idempotency key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from uq4ct.model_store.decisions import decide
from uq4ct.model_store.questions import Question
from uq4ct.service.context import Context
from uq4ct.service.engine.predictor import Served
from uq4ct.service.http.guards import Caller
from uq4ct.service.http.kinds import LEDGER_UNAVAILABLE
from uq4ct.service.http.problems import ProblemError, explain
from uq4ct.service.records import PredictionRecord
from uq4ct.service.schemas.predict import PredictRequest, PredictResponse
from uq4ct.service.telemetry.series import OTHER_TASK

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its request body and caller."""

    caller: Caller
    body: PredictRequest
    question: Question


class Recording:
    """One request's access to the ledger; once the ledger is unavailable, the request does not try it again."""

    def __init__(self, context: Context, caller: Caller) -> None:
        self._context = context
        self._caller = caller
        self._gone: ProblemError | None = None

    async def recall(
        self, items: Sequence[PredictRequest | ProblemError], prepared: Sequence[Question | ProblemError]
    ) -> list[Asked | PredictResponse | ProblemError]:
        """Return each question that still needs an answer, or the earlier answer for its idempotency key."""
        recalled: list[Asked | PredictResponse | ProblemError] = []
        for item, question in zip(items, prepared, strict=True):
            if isinstance(item, ProblemError):
                recalled.append(item)
            elif isinstance(question, ProblemError):
                recalled.append(question)
            else:
                recalled.append(await self._recall_one(Asked(self._caller, item, question)))
        return recalled

    async def keep(self, asked: Asked, served: Served) -> PredictionRecord | ProblemError:
        """Record and count the answer; for a repeated idempotency key, return the first answer instead."""
        context = self._context
        record = record_answer(context, asked, served)
        if record.idempotency_key is None:
            context.ledger.record(record)
            context.metrics.count_prediction(record)
            return record
        stored = await self._ask(partial(context.ledger.record_once, record))
        if isinstance(stored, ProblemError):
            return stored
        if stored.record is record:
            context.metrics.count_prediction(record)
        return stored.record

    async def _recall_one(self, asked: Asked) -> Asked | PredictResponse | ProblemError:
        key = asked.body.idempotency_key
        if key is None:
            return asked
        stored = await self._ask(partial(self._context.ledger.recall, asked.caller.tenant, key, _digest(asked.body)))
        if isinstance(stored, ProblemError):
            return stored
        return asked if stored is None else PredictResponse.from_answer(stored.record, asked.question.options)

    async def _ask(self, work: Callable[[], Awaitable[T]]) -> T | ProblemError:
        if self._gone is not None:
            return self._gone
        try:
            return await work()
        except Exception as error:
            problem = explain(error)
            if problem.kind is LEDGER_UNAVAILABLE:
                self._gone = problem
            return problem


def record_answer(context: Context, asked: Asked, served: Served) -> PredictionRecord:
    """Build the record of an answer, from which both the ledger entry and the response are made."""
    caller, body, question = asked.caller, asked.body, asked.question
    settings, manifest = context.settings, served.manifest
    decision = decide(served.answer.probabilities, manifest.decisions, body.abstain_below, body.coverage)
    texts = {"text": question.text, "options": list(question.options), "context": question.context}
    return PredictionRecord.from_answer(
        served.answer,
        decision,
        manifest,
        prediction_id=context.prediction_ids.new(),
        tenant=caller.tenant,
        key_hash=None if caller.key_id is None else hashlib.sha256(caller.key_id.encode()).hexdigest(),
        task=body.task if body.task in settings.tasks and body.task is not None else OTHER_TASK,
        tags=tuple(body.tags),
        idempotency_key=body.idempotency_key,
        body_hash=None if body.idempotency_key is None else _digest(body),
        question=texts if settings.store_questions else None,
    )


def _digest(body: PredictRequest) -> str:
    """SHA-256 of the request body without its idempotency key; null fields count as absent."""
    asked = body.model_dump(mode="json", exclude={"idempotency_key"}, exclude_none=True)
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
