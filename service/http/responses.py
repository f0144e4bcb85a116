"""Build and write responses whose size depends on the request or on the store, without blocking the event loop."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from uq4ct.service.http.entity_tags import entity_tag, is_known


async def write_in_thread(build: Callable[[], BaseModel]) -> Response:
    """Return the body that `build` returns, as JSON; both happen in a thread.

    One call that wrote everything would hold the interpreter lock, and thereby the event loop, until its end.
    """
    return Response(await run_in_threadpool(lambda: write_in_pieces(build())), media_type="application/json")


async def write_tagged_in_thread(build: Callable[[], BaseModel], if_none_match: str | None) -> Response:
    """Return the body as `write_in_thread` does, with its entity tag; 304 if the client names that tag."""

    def write() -> tuple[bytes, str]:
        content = write_in_pieces(build())
        return content, entity_tag(content)

    content, tag = await run_in_threadpool(write)
    if is_known(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(content, headers={"ETag": tag}, media_type="application/json")


def write_in_pieces(body: BaseModel) -> bytes:
    """Write a body as JSON, the objects in its lists one by one; the lists come after the other fields."""
    lists = {name: value for name, value in body if isinstance(value, list) and _has_objects(value)}
    others = body.model_dump_json(exclude=set(lists))[1:-1]
    fields = [others] if others else []
    for name, items in lists.items():
        fields.append(f'"{name}":[{",".join(item.model_dump_json() for item in items)}]')
    return f"{{{','.join(fields)}}}".encode()


def _has_objects(items: list[object]) -> bool:
    return bool(items) and all(isinstance(item, BaseModel) for item in items)
