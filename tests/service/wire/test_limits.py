"""How many connections may be open, given the limit on open files."""

from __future__ import annotations

import resource

import pytest

from uq4ct.service.wire.limits import RESERVED_DESCRIPTORS, ConnectionLimitError, connection_limit

LIMITS = {  # soft and hard limit, the setting -> connections, soft limit afterwards
    "enough": ((65_536, 65_536), None, 4_096, 65_536),
    "unlimited": ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, 4_096, resource.RLIM_INFINITY),
    "raised": ((1_024, 65_536), None, 4_096, 4_096 + RESERVED_DESCRIPTORS),
    "raised without a hard limit": ((1_024, resource.RLIM_INFINITY), 2_000, 2_000, 2_000 + RESERVED_DESCRIPTORS),
    "fewer": ((1_024, 1_024), None, 1_024 - RESERVED_DESCRIPTORS, 1_024),
    "very few": ((128, 128), None, 32, 128),
    "set": ((1_024, 1_024), 500, 500, 1_024),
}


@pytest.mark.parametrize(("limits", "configured", "connections", "soft"), LIMITS.values(), ids=LIMITS)
def test_connections_leave_room_for_other_files(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], configured: int | None, connections: int, soft: int
) -> None:
    current = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda _: current[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, chosen: current.append(chosen))
    assert connection_limit(configured) == connections
    assert current[-1] == (soft, limits[1])


def test_more_connections_than_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(ConnectionLimitError, match=r"UQ4CT_MAX_CONNECTIONS 900 is above 768, .* 1024 open files"):
        connection_limit(900)
