"""What the routes share: made once by `create_app`, found through the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from model_store.storage.errors import InvalidReferenceError, UnknownAdapterError
from model_store.storage.registry import Registry
from service.engine.engine import Engine
from service.errors import MODEL_NOT_LOADED, UNKNOWN_MODEL, ProblemError
from service.ledger.ledger import Ledger
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_ids import TimeOrderedIds


@dataclass(slots=True)
class Context:
    """The parts of one replica."""

    settings: Settings
    adapters: Registry
    engine: Engine
    metrics: Metrics
    prediction_ids: TimeOrderedIds
    ledger: Ledger
    served_references: frozenset[str] = frozenset()  # the references that mean the loaded adapter

    def fix_references(self, name: str, version: int) -> None:
        """Settle which references mean the loaded adapter.

        What is production is looked up once, when the adapter is loaded: a promotion must not take the name
        away from clients of a replica that still answers with the version before.
        """
        served = {f"{name}@{version}"}
        try:
            production = self.adapters.resolve(name)
        except UnknownAdapterError:
            production = None
        if production == (name, version):
            served |= {name, f"{name}@production"}
        self.served_references = frozenset(served)

    def check_model(self, reference: str | None) -> None:
        """Refuse a reference to anything but the loaded adapter; reads the model store, so not for the event loop.

        Raises:
            ProblemError: 404, the adapter is unknown or not loaded here.
        """
        if reference is None or reference in self.served_references:
            return
        try:
            self.adapters.resolve(reference)
        except (InvalidReferenceError, UnknownAdapterError) as error:
            raise ProblemError(UNKNOWN_MODEL, f"no adapter {reference} is registered") from error
        loaded = ", ".join(sorted(self.served_references))
        raise ProblemError(MODEL_NOT_LOADED, f"{reference} is not loaded here; loaded: {loaded}")


def context_of(request: Request) -> Context:
    """The context of the app that the request came to."""
    return request.app.state.context


ContextOf = Annotated[Context, Depends(context_of)]
