from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url

from tests.docker.compose import (
    COMPOSE,
    SERVICES,
    dockerfile_of,
    environment_file,
    environment_of,
    image_of,
    script_of,
    volumes_of,
)
from tests.docker.dockerfile import DOCKERFILES, ROOT, is_ignored
from tests.docker.interpolation import interpolate
from uq4ct.service.routes.metrics import router as metrics_routes
from uq4ct.service.settings import Settings, read_settings

PROMETHEUS_CONFIG = ROOT / "docker/prometheus/prometheus.yml"
ALERTMANAGER_CONFIG = ROOT / "docker/prometheus/alertmanager.yml"
GPU_FILE = ROOT / "docker/gpu.yml"
SETTINGS = {f"UQ4CT_{name.upper()}" for name in Settings.model_fields}

every_service = pytest.mark.parametrize("name", SERVICES)
every_build = pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if "build" in one])
OURS = [name for name, one in SERVICES.items() if one.get("build", {}).get("dockerfile") in DOCKERFILES]

COMPOSE_COMMAND = ("docker", "compose", "--env-file", os.devnull)


def _has_compose() -> bool:
    return shutil.which("docker") is not None and _ask("docker", "compose", "version").returncode == 0


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_compose_has_the_expected_services() -> None:
    assert set(COMPOSE) == {"name", "services", "volumes", "x-confined"}
    without_asking = ["quickstart", "service", "prometheus", "alertmanager", "grafana"]
    assert [name for name, one in SERVICES.items() if "profiles" not in one] == without_asking
    assert {name: one["profiles"] for name, one in SERVICES.items() if "profiles" in one} == {"postgres": ["postgres"]}


@every_service
def test_what_a_service_refers_to_is_there(name: str) -> None:
    one = SERVICES[name]
    assert "build" in one or re.fullmatch(r"[a-z/]+:v?\d+(\.\d+)+@sha256:[0-9a-f]{64}", one["image"])
    assert set(volumes_of(name).values()) <= set(COMPOSE["volumes"])
    assert set(one.get("networks", [])) <= set(COMPOSE.get("networks", {}))
    assert set(one.get("depends_on", [])) <= set(SERVICES)


def test_no_file_of_the_checkout_is_mounted() -> None:
    """A container's user could not read it if the checkout was made under umask 077."""
    mounted = [volume for one in SERVICES.values() for volume in one.get("volumes", [])]
    assert not [volume for volume in mounted if volume.startswith((".", "/", "~"))]
    assert not {"configs", "secrets"} & {key for one in SERVICES.values() for key in one}


@pytest.mark.parametrize(("name", "user"), [("prometheus", "65534"), ("alertmanager", "65534"), ("grafana", "472")])
def test_the_user_of_a_container_owns_its_configuration(name: str, user: str) -> None:
    copies = image_of(name).values("COPY")
    assert copies
    assert all(copy.startswith(f"--chown={user}:") for copy in copies)
    for source in image_of(name).sources:
        assert (ROOT / source).exists()
        assert not is_ignored(source, (ROOT / ".dockerignore").read_text(encoding="utf-8"))


def test_every_volume_is_used() -> None:
    assert set(COMPOSE["volumes"]) <= {source for name in SERVICES for source in volumes_of(name).values()}


@every_build
def test_a_build_gives_arguments_that_its_dockerfile_has(name: str) -> None:
    build = SERVICES[name]["build"]
    assert build["context"] == "."
    assert set(build.get("args", {})) <= set(dockerfile_of(name).arguments)


@pytest.mark.parametrize("name", OURS)
def test_a_build_stores_what_it_makes_in_the_shared_volume(name: str) -> None:
    assert volumes_of(name)[image_of(name).values("WORKDIR")[-1]] == "model-store"


@every_service
def test_a_service_is_confined(name: str) -> None:
    one = SERVICES[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(one)
    assert min(map(int, one.get("user", "999:999").split(":"))) > 0


def _bytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([mg])", interpolate(text, {})).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return int(number) << {"m": 20, "g": 30}[unit]


@every_service
def test_a_service_has_limits(name: str) -> None:
    one = SERVICES[name]
    assert 2**28 <= _bytes(one["mem_limit"]) <= 2**32
    assert one["pids_limit"] == 512
    assert one["ulimits"] == {"nofile": {"soft": 4096, "hard": 4096}}


@every_service
def test_the_logs_of_a_service_are_bounded(name: str) -> None:
    logging = SERVICES[name]["logging"]
    assert logging["driver"] == "json-file"
    assert int(logging["options"]["max-file"]) * _bytes(logging["options"]["max-size"]) <= 50 << 20


def test_the_operator_sets_the_memory_of_what_holds_a_model() -> None:
    for name in OURS:
        assert interpolate(SERVICES[name]["mem_limit"], {"UQ4CT_MEMORY_LIMIT": "9g"}) == "9g"


@every_service
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        address, _, _ = port.split(":")
        assert ipaddress.ip_address(address).is_loopback


@pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if "restart" in one])
def test_what_keeps_running_has_a_health_check(name: str) -> None:
    if name in OURS:
        assert image_of(name).only("HEALTHCHECK") != "NONE"
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def _settings(**variables: str) -> Settings:
    environment = image_of("service").environment | environment_of("service", **variables)
    return read_settings(environment, {})


def test_the_service_starts_with_these_variables() -> None:
    assert set(SERVICES["service"]["environment"]) <= SETTINGS
    settings = _settings()
    assert settings.api_keys_file is not None
    assert not settings.allow_public_without_keys
    assert SERVICES["service"]["ports"] == [f"127.0.0.1:8000:{settings.port}"]
    grace = re.fullmatch(r"(\d+)s", SERVICES["service"]["stop_grace_period"])
    assert grace is not None
    waits_for_what_hangs = 45
    assert int(grace[1]) > settings.shutdown_grace_seconds + settings.request_timeout_seconds + waits_for_what_hangs


def test_the_ledger_is_a_file_in_the_volume_until_postgres_has_a_password() -> None:
    assert _settings().database_url == image_of("service").environment["UQ4CT_DATABASE_URL"]
    url = make_url(_settings(UQ4CT_POSTGRES_PASSWORD="s3cret").database_url)
    server = environment_of("postgres", UQ4CT_POSTGRES_PASSWORD="s3cret")
    assert (url.drivername, url.host) == ("postgresql+psycopg", "postgres")
    assert (url.username, url.password) == (server["POSTGRES_USER"], server["POSTGRES_PASSWORD"])
    assert url.database == server.get("POSTGRES_DB", server["POSTGRES_USER"])
    assert "postgres" in dockerfile_of("service").arguments["EXTRAS"].split(",")
    elsewhere = "postgresql+psycopg://a:b@c/d"
    assert _settings(UQ4CT_POSTGRES_PASSWORD="s3cret", UQ4CT_DATABASE_URL=elsewhere).database_url == elsewhere


def test_postgres_without_a_password_is_refused_before_anything_starts() -> None:
    """Compose reads the file of `env_file` only for services whose profile is on, and stops where there is none."""
    missing = environment_file("postgres")
    assert not missing.exists()
    assert "UQ4CT_POSTGRES_PASSWORD is not set" in missing.name
    assert environment_file("postgres", UQ4CT_POSTGRES_PASSWORD="s3cret").is_file()


def test_the_service_waits_for_the_quickstart_and_for_postgres_where_there_is_one() -> None:
    assert SERVICES["service"]["depends_on"] == {
        "quickstart": {"condition": "service_completed_successfully"},
        "postgres": {"condition": "service_healthy", "required": False},
    }
    assert "restart" not in SERVICES["quickstart"]


def test_postgres_is_reached_by_the_other_containers_only_and_keeps_its_data() -> None:
    postgres = SERVICES["postgres"]
    assert "ports" not in postgres
    # Since version 18 the image keeps its data in a subfolder of this one that is named after the version.
    assert int(postgres["image"].split(":")[1].split(".")[0]) >= 18
    assert volumes_of("postgres") == {"/var/lib/postgresql": "postgres-data"}


def _in_image(name: str, path: str) -> Path:
    """The file or folder of the project that an image has at this path."""
    for copy in image_of(name).values("COPY"):
        source, target = copy.split()[-2:]
        if path == (target + Path(source).name if target.endswith("/") else target):
            return ROOT / source
    raise KeyError(path)


def test_prometheus_scrapes_the_metrics_of_the_service() -> None:
    (job,) = yaml.safe_load(PROMETHEUS_CONFIG.read_text(encoding="utf-8"))["scrape_configs"]
    port = image_of("service").environment["UQ4CT_PORT"]
    assert job["static_configs"] == [{"targets": [f"service:{port}"]}]
    assert job["metrics_path"] in {getattr(route, "path", None) for route in metrics_routes.routes}
    assert _in_image("prometheus", "/etc/prometheus/prometheus.yml").samefile(PROMETHEUS_CONFIG)
    assert _in_image("prometheus", "/etc/prometheus/rules").samefile(PROMETHEUS_CONFIG.parent / "rules")


def test_prometheus_sends_alerts_to_alertmanager_which_has_a_receiver_for_each() -> None:
    config = yaml.safe_load(PROMETHEUS_CONFIG.read_text(encoding="utf-8"))
    ((port, _),) = [target.split(":")[1:] for target in SERVICES["alertmanager"]["ports"]]
    assert config["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": [f"alertmanager:{port}"]}]}]
    alerts = yaml.safe_load(ALERTMANAGER_CONFIG.read_text(encoding="utf-8"))
    routes = [alerts["route"], *alerts["route"].get("routes", [])]
    assert {one["receiver"] for one in routes} == {one["name"] for one in alerts["receivers"]}
    mounts = volumes_of("alertmanager")
    flags = dict(flag.split("=", 1) for flag in SERVICES["alertmanager"]["command"])
    file = Path(flags["--config.file"])
    assert _in_image("alertmanager", str(file)).samefile(ALERTMANAGER_CONFIG)
    assert mounts[flags["--storage.path"]] == "alertmanager-data"


def test_grafana_finds_what_is_provisioned() -> None:
    provisioning = "/etc/grafana/provisioning"
    assert (_in_image("grafana", f"{provisioning}/datasources") / "prometheus.yml").is_file()
    (provider,) = yaml.safe_load((_in_image("grafana", f"{provisioning}/dashboards") / "uq4ct.yml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    folder = provider["options"]["path"]
    assert _in_image("grafana", folder).samefile(ROOT / "docker/grafana/dashboards")
    home = Path(environment_of("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == folder
    assert (_in_image("grafana", folder) / home.name).is_file()


def test_anyone_on_this_machine_may_look_at_grafana_and_nothing_more() -> None:
    environment = environment_of("grafana")
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def _password_of_grafana(**variables: str) -> str:
    script = script_of("grafana", "entrypoint").replace(
        "exec /run.sh", "exec sh -c 'echo \"$GF_SECURITY_ADMIN_PASSWORD\"'"
    )
    environment = {"PATH": os.defpath} | environment_of("grafana", **variables)
    command = ["/bin/sh", "-euc", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_the_administrator_of_grafana_has_the_operators_password_or_one_that_nobody_knows() -> None:
    assert _password_of_grafana(GRAFANA_ADMIN_PASSWORD="mine") == "mine"
    unknown = {_password_of_grafana() for _ in range(2)}
    assert len(unknown) == 2
    assert min(map(len, unknown)) >= 43  # 32 bytes


def test_a_wrong_configuration_fails_in_the_build() -> None:
    assert image_of("prometheus").only("RUN") == '["promtool", "check", "config", "/etc/prometheus/prometheus.yml"]'
    assert image_of("alertmanager").only("RUN") == '["amtool", "check-config", "/etc/alertmanager/alertmanager.yml"]'


def test_variables_of_the_operator_stay_out_of_git() -> None:
    ignored = subprocess.run(["git", "check-ignore", ".env"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ignored.returncode, ignored.stdout) == (0, ".env\n"), ignored.stderr


def test_the_gpu_file_adds_gpus_to_what_computes() -> None:
    added = yaml.safe_load(GPU_FILE.read_text(encoding="utf-8"))["services"]
    assert set(added) == set(OURS)
    for one in added.values():
        (device,) = one["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        assert set(one) == {"deploy"}


@pytest.mark.skipif(not _has_compose(), reason="no docker client with the compose plugin here")
@pytest.mark.parametrize("files", [[], ["--file", "docker-compose.yml", "--file", "docker/gpu.yml"]])
def test_compose_accepts_the_files(files: list[str]) -> None:
    done = _ask(*COMPOSE_COMMAND, *files, "config", "--quiet")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not _has_compose(), reason="no docker client with the compose plugin here")
def test_compose_refuses_postgres_without_a_password() -> None:
    done = _ask(*COMPOSE_COMMAND, "--profile", "postgres", "config", "--quiet")
    assert done.returncode != 0
    assert "UQ4CT_POSTGRES_PASSWORD is not set" in done.stderr
