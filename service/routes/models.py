"""GET /models: what is registered, how it scored, and what this replica does with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from model_store.storage.errors import InvalidReferenceError, UnknownAdapterError
from model_store.storage.entries import RegistryEntry
from service.context import Context, ContextOf
from service.engine.engine import State
from service.errors import INTERNAL, INVALID_FIELD, UNKNOWN_MODEL, ProblemError, declare
from service.schemas import REFERENCE_PATTERN, ModelCard, ModelList

router = APIRouter(tags=["models"])


# Plain functions: FastAPI runs them in a thread, and the model store is read from disk.
@router.get("/models", responses=declare(INTERNAL))
def list_models(context: ContextOf) -> ModelList:
    """Every registered version."""
    return ModelList(models=[_card(context, entry) for entry in context.adapters.list()])


@router.get("/models/{name}", responses=declare(UNKNOWN_MODEL, INVALID_FIELD, INTERNAL))
def show_model(
    context: ContextOf,
    name: Annotated[str, Path(pattern=REFERENCE_PATTERN, description="name (its production version) or name@version")],
) -> ModelCard:
    """One registered version."""
    try:
        version = context.adapters.resolve(name)
    except (InvalidReferenceError, UnknownAdapterError) as error:
        raise ProblemError(UNKNOWN_MODEL, f"no adapter {name} is registered") from error
    (entry,) = (entry for entry in context.adapters.list() if (entry.name, entry.version) == version)
    return _card(context, entry)


def _card(context: Context, entry: RegistryEntry) -> ModelCard:
    loaded = entry.manifest.reference in context.served_references
    ready = loaded and context.engine.state is State.READY
    return ModelCard.from_manifest(entry.manifest, list(entry.aliases), loaded=loaded, ready=ready)
