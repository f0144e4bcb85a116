"""docker/README.md, as far as it can be checked without Docker: its commands refer to things that exist."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from tests.command_line import check_command
from tests.docker.compose import COMPOSE, SERVICES, environment_of, script_of, volumes_of
from tests.docker.dockerfile import ROOT, read_dockerfile
from tests.docker.interpolation import interpolate
from tests.docker.promtool import promtool
from tests.readme.examples.docker import (
    BUILD_SERVICE,
    BUILD_SMALL,
    BUILD_TRAINING,
    CHECK_RULES,
    COMMAND_OF_SERVICE,
    COMMAND_OF_TRAINING,
    COMPOSE_BUILD_SMALL,
    COMPOSE_DELETE,
    COMPOSE_DOWN,
    COMPOSE_KEY,
    COMPOSE_PUBLISH,
    COMPOSE_REBUILD,
    COMPOSE_TRAIN,
    COMPOSE_UP,
    COMPOSE_UP_WITH_GPU,
    COMPOSE_UP_WITH_MODEL,
    COMPOSE_UP_WITH_POSTGRES,
    COMPOSE_VERSION,
    LOCK,
    PIN_IMAGES,
    PROFILE_FLAG,
    REPLAY,
    SET_PASSWORD,
    SET_PROFILE,
    STATS,
    TEST_RULES,
)
from tests.readme.examples.root import COMPOSE_UP as COMPOSE_UP_OF_README
from tests.readme.makefile import recipe
from tests.readme.pages import DOCKER_PAGE, RECIPES
from tests.readme.terminal import Terminal
from uq4ct.service.verbs import VERBS as SERVICE_VERBS
from uq4ct.training.run_config import load_run_config

CPU_INDEX = "INDEX"  # where the page has a placeholder
UP = ["docker", "compose", "up"]


def _words(command: str) -> list[str]:
    return [word for word in shlex.split(command, comments=True) if word.strip()]  # without ends of lines


def _with_variable(command: str) -> tuple[str, str, list[str]]:
    variable, *words = _words(command)
    name, _, value = variable.partition("=")
    return name, value, words


def test_compose_has_the_services_and_the_key_that_the_readme_names() -> None:
    assert _words(COMPOSE_UP) == _words(COMPOSE_UP_OF_README) == UP
    *run, path = _words(COMPOSE_KEY)
    assert run == ["docker", "compose", "exec", "service", "cat"]
    folder, name = path.rsplit("/", 1)
    assert volumes_of("service")[folder] == volumes_of("quickstart")[folder] == "keys"
    assert f"/{name}" in script_of("quickstart", "command")


def test_the_oldest_compose_is_named_in_the_file_too() -> None:
    (version,) = re.findall(r"Docker Compose (2\.\d+) or newer", DOCKER_PAGE.prose["Compose"])
    first, *_ = (ROOT / "docker-compose.yml").read_text(encoding="utf-8").splitlines()
    assert f"Docker Compose {version} or newer (`{COMPOSE_VERSION}`)" in first


def test_the_other_commands_are_those_of_compose() -> None:
    for command, rest in {
        COMPOSE_VERSION: ["compose", "version"],
        COMPOSE_DOWN: ["compose", "down"],
        COMPOSE_DELETE: ["compose", "down", "--volumes"],
        COMPOSE_REBUILD: ["compose", "up", "--build"],
        STATS: ["stats"],
    }.items():
        assert _words(command) == ["docker", *rest]
    assert _words(REPLAY)[1] in SERVICE_VERBS


def test_the_ledger_is_in_postgresql_with_two_lines_in_the_file_of_variables(checkout: Terminal) -> None:
    for command in (SET_PROFILE, SET_PASSWORD):
        checkout.run(command)
    lines = (checkout.folder / ".env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    assert [variables.pop("COMPOSE_PROFILES")] == SERVICES["postgres"]["profiles"]
    (password,) = variables.values()
    assert f":{password}@postgres/" in environment_of("service", **variables)["UQ4CT_DATABASE_URL"]
    assert environment_of("postgres", **variables)["POSTGRES_PASSWORD"] == password
    assert _words(COMPOSE_UP_WITH_POSTGRES) == UP
    assert _words(PROFILE_FLAG) == ["docker", "compose", "--profile", "postgres", "up"]


def test_a_model_is_trained_and_published_where_the_service_finds_it() -> None:
    config = load_run_config(RECIPES / "arc_easy_smollm2.yaml")
    options = ["-e", "UQ4CT_DATA_DIR=/data", "-v", "./data:/data:ro"]  # publishing scores the test questions
    for command in (COMPOSE_TRAIN, COMPOSE_PUBLISH):
        run = ["docker", "compose", "run", "--rm", *options, "quickstart"]
        words = _words(command)
        assert words[: len(run)] == run
        check_command(words[len(run) :])
    assert _words(COMPOSE_TRAIN)[-1] == "arc_easy_smollm2"
    assert f"runs/{config.name}" in _words(COMPOSE_PUBLISH)
    name, value, words = _with_variable(COMPOSE_UP_WITH_MODEL)
    assert (value, words) == (config.name, UP)
    assert value == environment_of("service", **{name: value})["UQ4CT_DEFAULT_MODEL"]


def test_the_commands_in_the_compose_file_are_those_of_the_readme() -> None:
    comment = (ROOT / "docker-compose.yml").read_text(encoding="utf-8").partition("\nname:")[0].replace("\n#", "\n")
    run = re.compile(r"docker compose run .*(?:(?<=\\)\n.*)?")
    for command, found in zip((COMPOSE_TRAIN, COMPOSE_PUBLISH), run.findall(comment), strict=True):
        general = found.replace("<folder of questions>", "./data").replace("<recipe>", "arc_easy_smollm2")
        words = _words(general.replace("<name in the recipe>", "arc-easy-smollm2"))
        assert words == _words(command)
    assert COMPOSE_UP_WITH_GPU in comment
    assert COMPOSE_UP_WITH_GPU in (ROOT / "docker/gpu.yml").read_text(encoding="utf-8")


def test_the_gpu_is_given_by_a_file_of_its_own() -> None:
    words = _words(COMPOSE_UP_WITH_GPU)
    assert words[:2] + words[6:] == UP
    assert words[2::2][:2] == ["-f", "-f"]
    assert all((ROOT / file).is_file() for file in words[3:6:2])
    assert "deploy" not in COMPOSE["services"]["service"]


def test_the_table_of_limits_is_what_compose_sets() -> None:
    rows = {row[0].strip("`"): row[1] for row in DOCKER_PAGE.table("container", "memory")}
    limits = {name: interpolate(one["mem_limit"], {}) for name, one in SERVICES.items()}
    units = {"g": " GiB", "m": " MiB"}
    assert rows == {name: limit[:-1] + units[limit[-1]] for name, limit in limits.items()}
    prose = DOCKER_PAGE.prose["Limits"]
    for one in SERVICES.values():
        assert f"{one['pids_limit']} processes" in prose
        assert f"{one['ulimits']['nofile']['hard']} open files" in prose


def test_make_pins_images_and_writes_the_lock(checkout: Terminal) -> None:
    assert recipe(checkout, PIN_IMAGES) == [["sh", "docker/pin_images.sh"]]
    locked = [words for words in recipe(checkout, LOCK) if "compile" in words]
    assert len(locked) == len(list((ROOT / "docker/lock").iterdir()))
    assert all({"--generate-hashes", "docker/constraints.txt"} <= set(words) for words in locked)


@pytest.mark.parametrize(("command", "service"), [
    (BUILD_SERVICE, "service"), (BUILD_TRAINING, "quickstart"), (BUILD_SMALL, "service"),
])  # fmt: skip
def test_an_image_is_built_as_compose_builds_it(command: str, service: str) -> None:
    words = _words(command)
    build = SERVICES[service]["build"]
    head = ["docker", "build", "--file", build["dockerfile"], "--tag", SERVICES[service]["image"]]
    assert words[: len(head)] == head
    assert words[-1] == build["context"]
    arguments = words[len(head) : -1]
    if command == BUILD_SMALL:
        assert arguments == ["--build-arg", f"TORCH_INDEX_URL={CPU_INDEX}"]
        assert "TORCH_INDEX_URL" in read_dockerfile(build["dockerfile"]).arguments
    else:
        assert arguments == []


def test_compose_builds_with_the_same_index() -> None:
    name, value, words = _with_variable(COMPOSE_BUILD_SMALL)
    assert (value, words) == (CPU_INDEX, ["docker", "compose", "build"])
    for service in ("service", "quickstart"):
        assert SERVICES[service]["build"]["args"][name] == f"${{{name}:-}}"


def test_an_image_starts_the_command_of_the_readme() -> None:
    for command, name in {COMMAND_OF_SERVICE: "service", COMMAND_OF_TRAINING: "quickstart"}.items():
        check_command(command)
        assert json.loads(read_dockerfile(SERVICES[name]["build"]["dockerfile"]).last.only("CMD")) == _words(command)


def test_the_rules_that_are_checked_are_all_rules() -> None:
    program, check, rules, *files = _words(CHECK_RULES)
    assert [program, check, rules] == ["promtool", "check", "rules"]
    assert {ROOT / file for file in files} == set((ROOT / "docker/prometheus/rules").glob("*.yml"))
    assert all((ROOT / file).is_file() for file in _words(TEST_RULES)[3:])


@pytest.mark.slow
@pytest.mark.parametrize("command", [CHECK_RULES, TEST_RULES])
def test_promtool_accepts_the_rules(command: str) -> None:
    _, *words = _words(command)
    promtool(*(ROOT / word if word.startswith("docker/") else word for word in words))
