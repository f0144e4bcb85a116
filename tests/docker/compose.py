"""Read docker-compose.yml as docker compose does, as far as the tests need it."""

from __future__ import annotations

from typing import Any

import yaml

from tests.docker.dockerfile import ROOT, Dockerfile, read_dockerfile
from tests.docker.interpolation import interpolate

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def image_of(name: str) -> Dockerfile:
    """The Dockerfile that a service is built from."""
    return read_dockerfile(SERVICES[name]["build"]["dockerfile"])


def volumes_of(name: str) -> dict[str, str]:
    """The mounts of a service: target to source, without the mode."""
    return {(parts := volume.split(":"))[1]: parts[0] for volume in SERVICES[name].get("volumes", [])}


def environment_of(name: str, **variables: str) -> dict[str, str]:
    """The environment of a container, given the variables of the shell that starts it."""
    return {key: interpolate(value, variables) for key, value in SERVICES[name].get("environment", {}).items()}


def script_of(name: str, part: str) -> str:
    """The shell script that a service runs, after interpolation."""
    shell, flags, script = SERVICES[name][part]
    assert (shell, flags) == ("sh", "-euc")
    return interpolate(script, {})
