"""A question to ask, and checks of problem documents."""

from __future__ import annotations

from typing import Any

import httpx2

QUESTION = {"question": "Which one?", "options": ["this", "that"]}


def problem(response: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    """Return the problem document after checking the fields common to all."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"urn:uq4ct:problem:{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return document
