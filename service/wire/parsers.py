"""uvicorn's two parsers of HTTP/1.1, made to say when a response is complete."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from typing import Any, Literal, cast

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

ParserName = Literal["auto", "httptools", "h11"]
ParserClass = Callable[..., asyncio.Protocol]


def parser_class(name: ParserName) -> ParserClass:
    """Return a class of uvicorn's protocols; auto = httptools if it is installed, else h11.

    Instances call `answered`, an attribute to be set, after each response.

    Raises:
        ImportFromStringError: httptools is not installed.
    """
    has_httptools = importlib.util.find_spec("httptools") is not None
    chosen = name if name != "auto" else "httptools" if has_httptools else "h11"
    return _telling(import_from_string(HTTP_PROTOCOLS[chosen]))


def _telling(parser: type[Any]) -> ParserClass:
    def on_response_complete(self: Any) -> None:
        parser.on_response_complete(self)
        self.answered()

    members = {"on_response_complete": on_response_complete}
    return cast(ParserClass, type(f"Telling{parser.__name__}", (parser,), members))
