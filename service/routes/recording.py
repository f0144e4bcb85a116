"""What /predict leaves in the ledger, and what it finds there for an idempotency key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from uq4ct.model_store.questions import LABELS, Question
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.uncertainty.calibration_error import bin_of
from uq4ct.service.context import Context
from uq4ct.service.http.guards import Caller
from uq4ct.service.http.problems import LEDGER_UNAVAILABLE, ProblemError, explain
from uq4ct.service.ledger.records import PredictionRecord
from uq4ct.service.schemas.feedback import show_probabilities, show_uncertainty
from uq4ct.service.schemas.predict import Option, PredictRequest, PredictResponse
from uq4ct.service.telemetry.series import OTHER_TASK

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it was asked, and by whom."""

    caller: Caller
    body: PredictRequest
    question: Question


class Recording:
    """What one request leaves in the ledger and finds there; a ledger that was gone once is not asked again."""

    def __init__(self, context: Context, caller: Caller) -> None:
        self._context = context
        self._caller = caller
        self._gone: ProblemError | None = None

    async def recall(
        self, items: Sequence[PredictRequest | ProblemError], prepared: Sequence[Question | ProblemError]
    ) -> list[Asked | PredictResponse | ProblemError]:
        """Each question that is still to be answered, or the answer that its idempotency key has already."""
        recalled: list[Asked | PredictResponse | ProblemError] = []
        for item, question in zip(items, prepared, strict=True):
            if isinstance(item, ProblemError):
                recalled.append(item)
            elif isinstance(question, ProblemError):
                recalled.append(question)
            else:
                recalled.append(await self._recall_one(Asked(self._caller, item, question)))
        return recalled

    async def keep(self, asked: Asked, manifest: Manifest, response: PredictResponse) -> PredictResponse | ProblemError:
        """Give the answer to the ledger and count it; of one idempotency key, the first is the answer."""
        context = self._context
        record = _record(context, asked, manifest, response)
        if record.idempotency_key is None:
            context.ledger.record(record)
            context.metrics.count_prediction(record)
            return response
        stored = await self._ask(partial(context.ledger.record_once, record))
        if isinstance(stored, ProblemError):
            return stored
        if stored.record is not record:
            return _answer(stored.record, asked.question)
        context.metrics.count_prediction(record)
        return response

    async def _recall_one(self, asked: Asked) -> Asked | PredictResponse | ProblemError:
        key = asked.body.idempotency_key
        if key is None:
            return asked
        stored = await self._ask(partial(self._context.ledger.recall, asked.caller.tenant, key, _digest(asked.body)))
        if isinstance(stored, ProblemError):
            return stored
        return asked if stored is None else _answer(stored.record, asked.question)

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


def _record(context: Context, asked: Asked, manifest: Manifest, response: PredictResponse) -> PredictionRecord:
    caller, body, question = asked.caller, asked.body, asked.question
    settings = context.settings
    texts = {"text": question.text, "options": list(question.options), "context": question.context}
    return PredictionRecord(
        prediction_id=response.prediction_id,
        tenant=caller.tenant,
        key_hash=None if caller.key_id is None else hashlib.sha256(caller.key_id.encode()).hexdigest(),
        model=manifest.name,
        version=manifest.version,
        adapter_digest=manifest.adapter_digest,
        method=response.method,
        task=body.task if body.task in settings.tasks and body.task is not None else OTHER_TASK,
        option=response.option.index,
        options=len(question.options),
        confidence=response.confidence,
        probabilities=tuple(item.probability for item in response.probabilities),
        feu=response.feu,
        total=response.uncertainty.total,
        aleatoric=response.uncertainty.aleatoric,
        epistemic=response.uncertainty.epistemic,
        error_score=response.uncertainty.error_score,
        bin=bin_of(response.confidence),
        abstain=response.abstain,
        abstain_reason=response.abstain_reason,
        threshold=response.threshold,
        prediction_set=None if response.prediction_set is None else tuple(response.prediction_set),
        coverage=response.coverage,
        tags=tuple(body.tags),
        idempotency_key=body.idempotency_key,
        body_hash=None if body.idempotency_key is None else _digest(body),
        question=texts if settings.store_questions else None,
    )


def _answer(record: PredictionRecord, question: Question) -> PredictResponse:
    """The answer as it was served; the texts are those of the question, which is the same."""
    option = Option(index=record.option, label=LABELS[record.option], text=question.options[record.option])
    return PredictResponse(
        prediction_id=record.prediction_id,
        model=f"{record.model}@{record.version}",
        method=record.method,
        option=option,
        confidence=record.confidence,
        probabilities=show_probabilities(record.probabilities),
        feu=record.feu,
        uncertainty=show_uncertainty(record),
        abstain=record.abstain,
        abstain_reason=record.abstain_reason,
        threshold=record.threshold,
        prediction_set=None if record.prediction_set is None else list(record.prediction_set),
        coverage=record.coverage,
    )


def _digest(body: PredictRequest) -> str:
    """SHA-256 of everything that was asked; a field that is null is as good as absent."""
    asked = body.model_dump(mode="json", exclude={"idempotency_key"}, exclude_none=True)
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
