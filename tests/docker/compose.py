"""Read docker-compose.yml as docker compose does, as far as the tests need it."""

from __future__ import annotations

from pathlib import Path
from posixpath import normpath
from typing import Any

import yaml

from tests.docker.dockerfile import ROOT, Dockerfile, Stage, read_dockerfile
from tests.docker.interpolation import interpolate

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def dockerfile_of(name: str) -> Dockerfile:
    """The Dockerfile that a service is built from."""
    return read_dockerfile(SERVICES[name]["build"]["dockerfile"])


def image_of(name: str) -> Stage:
    """The stage that becomes the image of a service."""
    target = SERVICES[name]["build"].get("target")
    return dockerfile_of(name).stage(target) if target else dockerfile_of(name).last


def volumes_of(name: str) -> dict[str, str]:
    """The mounts of a service: target to source, without the mode."""
    return {(parts := volume.split(":"))[1]: parts[0] for volume in SERVICES[name].get("volumes", [])}


def environment_of(name: str, **variables: str) -> dict[str, str]:
    """The environment of a container, given the variables of the shell that starts it."""
    one = SERVICES[name]
    own = {key: interpolate(value, variables) for key, value in one.get("environment", {}).items()}
    return (_read_variables(environment_file(name, **variables)) if "env_file" in one else {}) | own


def environment_file(name: str, **variables: str) -> Path:
    """The file of a service's `env_file`; like compose, without looking up the folders in its path."""
    return ROOT / normpath(interpolate(SERVICES[name]["env_file"], variables))


def _read_variables(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def script_of(name: str, part: str) -> str:
    """The shell script that a service runs, after interpolation."""
    shell, flags, script = SERVICES[name][part]
    assert (shell, flags) == ("sh", "-euc")
    return interpolate(script, {})
