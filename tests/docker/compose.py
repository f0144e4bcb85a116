"""docker-compose.yml as docker compose reads it, as far as the tests ask."""

from __future__ import annotations

from typing import Any

import yaml

from tests.docker.dockerfile import ROOT, Dockerfile, read_dockerfile
from tests.docker.interpolation import interpolate

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def image_of(name: str) -> Dockerfile:
    """What a service is built from."""
    return read_dockerfile(SERVICES[name]["build"]["dockerfile"])


def volumes_of(name: str) -> dict[str, str]:
    """Where a service mounts what: target to source, without the mode."""
    return {(parts := volume.split(":"))[1]: parts[0] for volume in SERVICES[name].get("volumes", [])}


def environment_of(name: str, **variables: str) -> dict[str, str]:
    """The variables of a container, for variables of the shell that starts it."""
    return {key: interpolate(value, variables) for key, value in SERVICES[name].get("environment", {}).items()}


def script_of(name: str, part: str) -> str:
    """The shell script that a service runs, as the shell gets it."""
    shell, flags, script = SERVICES[name][part]
    assert (shell, flags) == ("sh", "-euc")
    return interpolate(script, {})
