"""docker/README.md, as far as it can be checked without Docker: its commands refer to things that exist."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml

from tests.command_line import check_command
from tests.docker.compose import COMPOSE, SERVICES, environment_of, script_of, volumes_of
from tests.docker.dockerfile import ROOT, read_dockerfile
from tests.docker.promtool import promtool
from tests.readme.examples.docker import (
    BUILD_SERVICE,
    BUILD_SMALL,
    BUILD_TRAINING,
    CHECK_RULES,
    COMMAND_OF_SERVICE,
    COMMAND_OF_TRAINING,
    COMPOSE_BUILD_SMALL,
    COMPOSE_KEY,
    COMPOSE_POSTGRES,
    COMPOSE_PUBLISH,
    COMPOSE_TRAIN,
    COMPOSE_UP,
    COMPOSE_UP_WITH_MODEL,
    GPU_OVERRIDE,
    TEST_RULES,
)
from tests.readme.examples.root import COMPOSE_UP as COMPOSE_UP_OF_README
from tests.readme.pages import RECIPES
from uq4ct.training.run_config import load_run_config

CPU_INDEX = "INDEX"  # where the page has a placeholder
UP = ["docker", "compose", "up"]


def _words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


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


def test_the_ledger_is_in_postgresql_where_it_has_a_password() -> None:
    name, value, words = _with_variable(COMPOSE_POSTGRES)
    assert words == ["docker", "compose", "--profile", "postgres", "up"]
    assert value in environment_of("service", **{name: value})["UQ4CT_DATABASE_URL"]
    assert SERVICES["postgres"]["profiles"] == ["postgres"]


def test_a_model_is_trained_and_published_where_the_service_finds_it() -> None:
    recipe = load_run_config(RECIPES / "arc_easy_smollm2.yaml")
    for command, options in {
        COMPOSE_TRAIN: ["-e", "UQ4CT_DATA_DIR=/data", "-v", "./data:/data:ro"],
        COMPOSE_PUBLISH: [],
    }.items():
        run = ["docker", "compose", "run", "--rm", *options, "quickstart"]
        words = _words(command)
        assert words[: len(run)] == run
        check_command(words[len(run) :])
    assert _words(COMPOSE_TRAIN)[-1] == "arc_easy_smollm2"
    assert f"runs/{recipe.name}" in _words(COMPOSE_PUBLISH)
    name, value, words = _with_variable(COMPOSE_UP_WITH_MODEL)
    assert (value, words) == (recipe.name, UP)
    assert value == environment_of("service", **{name: value})["UQ4CT_DEFAULT_MODEL"]


def test_the_gpu_is_given_to_the_service() -> None:
    assert yaml.safe_load(GPU_OVERRIDE) == {"services": {"service": {"gpus": "all"}}}
    assert "gpus" not in COMPOSE["services"]["service"]


@pytest.mark.parametrize(("command", "service"), [
    (BUILD_SERVICE, "service"), (BUILD_TRAINING, "quickstart"), (BUILD_SMALL, "service"),
])  # fmt: skip
def test_an_image_is_built_as_compose_builds_it(command: str, service: str) -> None:
    words = [word for word in _words(command) if word.strip()]
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
        assert json.loads(read_dockerfile(SERVICES[name]["build"]["dockerfile"]).only("CMD")) == _words(command)


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
