"""Requests of the HTTP library, made from the steps of a call."""

from __future__ import annotations

import httpx2

from uq4ct.service.client.errors import ClosedClientError, InvalidArgumentError
from uq4ct.service.client.steps import Send


def build_request(http: httpx2.Client | httpx2.AsyncClient, send: Send) -> httpx2.Request:
    """Return the request of a step.

    Raises:
        ClosedClientError: the client is closed.
        InvalidArgumentError: the body cannot be written as JSON.
    """
    if http.is_closed:
        raise ClosedClientError(f"{send.path}: the client is closed; make a new one")
    try:
        return http.build_request(send.method, send.path, json=send.body, params=send.params)
    except (TypeError, ValueError) as error:  # a number of more digits than Python writes
        raise InvalidArgumentError(f"{send.path}: the request cannot be written as JSON: {error}") from error
