"""/models: the registered models with their scores and state on this replica; load, unload and promote them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query
from starlette.responses import Response

from uq4ct.model_store.storage.entries import START, DamagedEntry, ListedVersion, Place, RegistryEntry
from uq4ct.model_store.storage.errors import FileError, InvalidReferenceError, UnknownAdapterError
from uq4ct.model_store.storage.references import NAME_PATTERN
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.context import Context, ContextOf
from uq4ct.service.engine.engine import State
from uq4ct.service.engine.failures import StoreUnavailableError
from uq4ct.service.http.declarations import declare, such_as
from uq4ct.service.http.guards import Scope, require
from uq4ct.service.http.kinds import (
    AUTHENTICATED,
    CHANGING_MODEL,
    DEFAULT_MODEL,
    FAILING,
    FINDING_MODEL,
    INVALID_FIELD,
    JSON_BODY,
    MODEL_UNLOADABLE,
    STORE_READ_ONLY,
    STORE_UNAVAILABLE,
    UNKNOWN_MODEL,
    WRONG_BASE,
)
from uq4ct.service.http.problems import ProblemError, damage, explain
from uq4ct.service.http.responses import write_tagged_in_thread
from uq4ct.service.http.strict_json import StrictJsonRoute
from uq4ct.service.schemas.common import REFERENCE_PATTERN, FieldError
from uq4ct.service.schemas.models import (
    CURSOR_PATTERN,
    DamagedModel,
    ModelCard,
    ModelList,
    ModelSummary,
    Promotion,
    PromotionHistory,
)

USUALLY_LISTED = 100
MOST_LISTED = 500

Reference = Annotated[
    str,
    Path(
        pattern=REFERENCE_PATTERN,
        description="name (its production version), name@version or name@alias",
        openapi_examples=such_as("arc-easy@3"),
    ),
]
Name = Annotated[str, Path(pattern=NAME_PATTERN, description="a registered name", openapi_examples=such_as("arc-easy"))]
Limit = Annotated[
    int, Query(ge=1, le=MOST_LISTED, description="most versions of the page", openapi_examples=such_as(50))
]
Cursor = Annotated[
    str | None,
    Query(pattern=CURSOR_PATTERN, description="`next` of the page before", openapi_examples=such_as("arc-easy@2")),
]
Search = Annotated[
    str,
    Query(
        pattern=r"^[a-z0-9._-]{0,64}$", description="only names that contain this text", openapi_examples=such_as("arc")
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        description="`ETag` of an earlier response",
        openapi_examples=such_as('"3f1c9a7e5b2d4f608192a3b4c5d6e7f8"'),
    ),
]

T = TypeVar("T")

_NO_LIMIT = FieldError(field="limit", message=f"Input should be less than or equal to {MOST_LISTED}")
_NO_NAME = FieldError(field="name", message=f"String should match pattern '{REFERENCE_PATTERN}'")
_NO_VERSION = FieldError(field="version", message="Input should be greater than or equal to 1")
_KEYED = declare(*AUTHENTICATED)
_ADMIN = [Depends(require(Scope.ADMIN))]

router = APIRouter(tags=["models"])
reads = APIRouter(tags=["models"], dependencies=[Depends(require(Scope.PREDICT))], responses=_KEYED)
changes = APIRouter(tags=["models"], dependencies=_ADMIN, responses=_KEYED)
promotions = APIRouter(route_class=StrictJsonRoute, tags=["models"], dependencies=_ADMIN, responses=_KEYED)


@reads.get(
    "/models",
    responses=declare(INVALID_FIELD, STORE_UNAVAILABLE, *FAILING, invalid=_NO_LIMIT)
    | {304: {"description": "The list has not changed"}},
    response_model=ModelList,
)
async def list_models(
    context: ContextOf,
    limit: Limit = USUALLY_LISTED,
    cursor: Cursor = None,
    search: Search = "",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List the registered versions page by page; versions with damaged records are listed separately."""
    entries = await read_store(context, context.adapters.survey, _place_of(cursor), limit + 1, search)
    return await write_tagged_in_thread(lambda: _list(context, entries, limit), if_none_match)


@reads.get("/models/{name}", responses=declare(*FINDING_MODEL, invalid=_NO_NAME))
async def show_model(context: ContextOf, name: Reference) -> ModelCard:
    """Show one registered version."""
    try:
        return _card(context, await read_store(context, context.adapters.entry, name))
    except (InvalidReferenceError, UnknownAdapterError) as error:
        raise ProblemError(UNKNOWN_MODEL, f"no adapter {name} is registered") from error
    except FileError as error:
        raise ProblemError(MODEL_UNLOADABLE, f"{name}: {damage(error)}") from error


@reads.get("/models/{name}/promotions", responses=declare(*FINDING_MODEL, invalid=_NO_NAME))
async def show_promotions(context: ContextOf, name: Name) -> PromotionHistory:
    """Show the last changes of a name's aliases, and where its aliases point now."""
    try:
        return await read_store(context, _read_promotions, context.adapters, name)
    except UnknownAdapterError as error:
        raise ProblemError(UNKNOWN_MODEL, f"no adapter {name} is registered") from error
    except FileError as error:
        raise ProblemError(MODEL_UNLOADABLE, f"{name}: {damage(error)}") from error


@changes.post("/models/{name}/load", responses=declare(*CHANGING_MODEL, WRONG_BASE, invalid=_NO_NAME))
async def load_model(context: ContextOf, name: Reference) -> ModelCard:
    """Load a registered version into memory and warm it up; versions already loaded keep answering.

    If it cannot be loaded, nothing changes.
    """
    try:
        async with context.engine.change() as swaps:
            adapter = await swaps.obtain(name)
    except Exception as error:
        raise explain(error) from error
    return await show_model(context, adapter.manifest.reference)


@changes.post("/models/{name}/unload", responses=declare(*CHANGING_MODEL, DEFAULT_MODEL, invalid=_NO_NAME))
async def unload_model(context: ContextOf, name: Reference) -> ModelCard:
    """Unload a version once its last question is answered; a request that names it loads it again."""
    try:
        async with context.engine.change() as swaps:
            reference = await swaps.unload(name)
    except Exception as error:
        raise explain(error) from error
    return await show_model(context, reference)


@promotions.post(
    "/models/{name}/promote",
    responses=declare(*JSON_BODY, *CHANGING_MODEL, WRONG_BASE, STORE_READ_ONLY, invalid=_NO_VERSION),
)
async def promote_model(context: ContextOf, name: Name, body: Promotion) -> ModelCard:
    """Point an alias to another version. Takes effect here once that version is warm, and on other replicas when they
    next read the store.

    Questions already admitted are answered by the old version. If the new version cannot be loaded, the alias does not
    change.
    """
    try:
        async with context.engine.change() as swaps:
            await swaps.promote(name, body.version, body.alias)
    except Exception as error:
        raise explain(error) from error
    return await show_model(context, f"{name}@{body.version}")


router.include_router(reads)
router.include_router(changes)
router.include_router(promotions)


async def read_store(context: Context, read: Callable[..., T], *arguments: object) -> T:
    """Return what a function reads from the model store; raises what it raises, or a ProblemError if it hangs."""
    try:
        return await context.engine.swaps.read(read, *arguments)
    except StoreUnavailableError as error:
        raise explain(error) from error


def _read_promotions(adapters: Registry, name: str) -> PromotionHistory:
    aliases = adapters.aliases(name)
    return PromotionHistory.from_entries(aliases, adapters.promotions(name)[-USUALLY_LISTED:])


def _place_of(cursor: str | None) -> Place:
    if cursor is None:
        return START
    name, _, version = cursor.partition("@")
    return name, int(version)


def _list(context: Context, entries: Sequence[ListedVersion | DamagedEntry], limit: int) -> ModelList:
    """Return a page of at most `limit` entries; any further one shows that there is a next page."""
    page = entries[:limit]
    return ModelList(
        models=[_summary(context, entry) for entry in page if isinstance(entry, ListedVersion)],
        damaged=[_damaged(entry) for entry in page if isinstance(entry, DamagedEntry)],
        next="{}@{}".format(*page[-1].place) if len(entries) > limit else None,
    )


def _summary(context: Context, entry: ListedVersion) -> ModelSummary:
    state = _state(context, f"{entry.name}@{entry.version}")
    return ModelSummary.from_summary(entry.summary, list(entry.aliases), **state)


def _card(context: Context, entry: RegistryEntry) -> ModelCard:
    return ModelCard.from_manifest(entry.manifest, list(entry.aliases), **_state(context, entry.manifest.reference))


def _state(context: Context, reference: str) -> dict[str, bool]:
    """Return the state of a version on this replica."""
    engine, loaded = context.engine, context.engine.is_loaded(reference)
    return {
        "loaded": loaded,
        "ready": loaded and engine.state is State.READY,
        "default": engine.is_default(reference),
    }


def _damaged(entry: DamagedEntry) -> DamagedModel:
    return DamagedModel(name=entry.name, version=entry.version, aliases=list(entry.aliases), error=damage(entry.error))
