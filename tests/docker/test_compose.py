from __future__ import annotations

import ipaddress
import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from service.routes.metrics import router as metrics_routes
from service.settings import Settings, read_settings
from tests.docker.commands import as_flags, check_command
from tests.docker.dockerfile import ROOT, Dockerfile, read_dockerfile
from training.__main__ import recipe_path

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS_CONFIG = ROOT / "docker/prometheus/prometheus.yml"
SETTINGS = {name.upper() for name in Settings.model_fields}

every_service = pytest.mark.parametrize("name", SERVICES)
every_build = pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if "build" in one])


def _has_compose() -> bool:
    return shutil.which("docker") is not None and _ask("docker", "compose", "version").returncode == 0


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _image(name: str) -> Dockerfile:
    return read_dockerfile(SERVICES[name]["build"]["dockerfile"])


def _volumes(name: str) -> dict[str, str]:
    """Where a service mounts what: target to source, without the mode."""
    return {(parts := volume.split(":"))[1]: parts[0] for volume in SERVICES[name].get("volumes", [])}


def test_the_services_are_those_that_are_meant() -> None:
    assert set(COMPOSE) == {"name", "services", "volumes", "x-confined"}
    assert set(SERVICES) == {"service", "prometheus", "training"}
    assert [name for name, one in SERVICES.items() if "profiles" not in one] == ["service", "prometheus"]


@every_service
def test_what_a_service_refers_to_is_there(name: str) -> None:
    one = SERVICES[name]
    assert "build" in one or re.fullmatch(r"[a-z/]+:v\d+\.\d+\.\d+", one["image"])
    for source in _volumes(name).values():
        assert (ROOT / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]
    assert set(one.get("networks", [])) <= set(COMPOSE.get("networks", {}))
    assert set(one.get("depends_on", [])) <= set(SERVICES)


def test_every_volume_is_used() -> None:
    assert set(COMPOSE["volumes"]) <= {source for name in SERVICES for source in _volumes(name).values()}


@every_build
def test_a_build_gives_arguments_that_its_dockerfile_has(name: str) -> None:
    build = SERVICES[name]["build"]
    assert build["context"] == "."
    assert set(build["args"]) <= set(_image(name).arguments)


@every_build
def test_a_build_stores_what_it_makes_in_the_shared_volume(name: str) -> None:
    assert _volumes(name)[_image(name).values("WORKDIR")[-1]] == "model-store"


@every_service
def test_a_service_is_confined(name: str) -> None:
    one = SERVICES[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "user"} & set(one)


@every_service
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        address, _, _ = port.split(":")
        assert ipaddress.ip_address(address).is_loopback


@pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if "restart" in one])
def test_what_keeps_running_has_a_health_check(name: str) -> None:
    if "build" in SERVICES[name]:
        assert _image(name).only("HEALTHCHECK") != "NONE"
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_the_service_starts_with_these_variables() -> None:
    environment = _image("service").environment | SERVICES["service"]["environment"]
    assert set(SERVICES["service"]["environment"]) <= SETTINGS
    settings = read_settings(environment, as_flags(environment))
    assert settings.allow_public_without_keys
    assert SERVICES["service"]["ports"] == [f"127.0.0.1:8000:{settings.port}"]
    grace = re.fullmatch(r"(\d+)s", SERVICES["service"]["stop_grace_period"])
    assert grace is not None
    assert int(grace[1]) > settings.shutdown_grace_seconds


def test_the_one_shot_trains_and_then_publishes_that_run() -> None:
    shell, flag, script = SERVICES["training"]["command"]
    assert (shell, flag) == ("sh", "-c")
    train, publish = map(shlex.split, script.split(" && "))
    check_command(train)
    check_command(publish)
    recipe = train[train.index("train") + 1]
    name = yaml.safe_load(recipe_path(recipe).read_text(encoding="utf-8"))["name"]
    assert publish[publish.index("publish") + 1] == f"runs/{name}"


def test_prometheus_scrapes_the_metrics_of_the_service() -> None:
    (job,) = yaml.safe_load(PROMETHEUS_CONFIG.read_text(encoding="utf-8"))["scrape_configs"]
    port = _image("service").environment["PORT"]
    assert job["static_configs"] == [{"targets": [f"service:{port}"]}]
    assert job["metrics_path"] in {getattr(route, "path", None) for route in metrics_routes.routes}
    mounts = _volumes("prometheus")
    assert (ROOT / mounts["/etc/prometheus"] / "prometheus.yml").samefile(PROMETHEUS_CONFIG)


@pytest.mark.skipif(not _has_compose(), reason="no docker client with the compose plugin here")
def test_compose_accepts_the_file() -> None:
    done = _ask("docker", "compose", "config", "--quiet")
    assert done.returncode == 0, done.stderr
