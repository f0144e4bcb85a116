"""The commands that "Serving", "Installation" and "Development" name."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path

import pytest

from tests.command_line import check_command
from tests.docker.compose import SERVICES, environment_of, script_of, volumes_of
from tests.readme.conftest import STORE
from tests.readme.examples import (
    CHECK,
    COMPOSE_KEY,
    COMPOSE_POSTGRES,
    COMPOSE_UP,
    INSTALL,
    INSTALL_BASE,
    KEYS,
    MAKE_BENCH,
    MAKE_DEMO,
    MAKE_DEMO_AGAIN,
    MAKE_SERVE,
    MAKE_TEST,
    MAKE_TEST_ALL,
    MAKE_WITH_INDEX,
    PROMOTE,
    SERVE,
)
from tests.readme.makefile import recipe
from tests.readme.terminal import Terminal, check_out
from uq4ct.model_store.base.models import EMBEDDED_DISTRIBUTION, EMBEDDED_VERSION
from uq4ct.model_store.storage.registry import Registry


@pytest.fixture
def checkout(tmp_path: Path) -> Terminal:
    """A terminal in a checkout, for what no Python runs."""
    return Terminal(check_out(tmp_path), in_process=True)


def test_make_serve_is_the_command_that_serves(checkout: Terminal) -> None:
    check_command(shlex.split(SERVE))
    (words,) = recipe(checkout, MAKE_SERVE)
    assert words[0] == "UQ4CT_PORT=8000"
    assert words[1:] == [".venv/bin/uq4ct", *shlex.split(SERVE)[1:]]


def test_make_demo_is_a_command_of_training(checkout: Terminal) -> None:
    (words,) = recipe(checkout, MAKE_DEMO)
    assert recipe(checkout, MAKE_DEMO_AGAIN) == [words]
    check_command(["uq4ct", *words[1:]])


def test_check_answers_and_ends(stocked: Terminal) -> None:
    assert json.loads(stocked.run(CHECK))["model"] == "quickstart@1"


def test_the_commands_of_keys_are_listed(terminal: Terminal) -> None:
    shown = terminal.run(f"{KEYS} --help")
    assert all(name in shown for name in ("new", "list", "revoke"))


def test_promote_makes_a_version_production_and_takes_the_older_one_back(stocked: Terminal) -> None:
    registry = Registry(stocked.folder / STORE)
    for version in (2, 1):
        stocked.run(PROMOTE.replace("NAME", "quickstart").replace("VERSION", str(version)))
        assert registry.resolve("quickstart") == ("quickstart", version)


def test_make_installs_what_the_readme_installs_without_make(checkout: Terminal) -> None:
    steps = recipe(checkout, MAKE_WITH_INDEX.replace("<index>", "https://index.example"), installed=False)
    torch, project, base = ([word for word in step[1:] if word != "--quiet"] for step in steps if "install" in step)
    assert project[1:3] == ["--constraint", "docker/constraints.txt"]
    del project[1:3]
    assert torch[:3] == ["install", "--index-url", "https://index.example"]
    assert [word for word in project if word != "--editable"] == shlex.split(INSTALL)[1:]
    assert base == shlex.split(INSTALL_BASE)[1:]
    assert base[-1] == f"{EMBEDDED_DISTRIBUTION}=={EMBEDDED_VERSION}"


def test_compose_has_the_services_and_the_key_that_the_readme_names() -> None:
    assert shlex.split(COMPOSE_UP) == ["docker", "compose", "up"]
    *run, path = shlex.split(COMPOSE_KEY)
    assert run == ["docker", "compose", "exec", "service", "cat"]
    folder, name = path.rsplit("/", 1)
    assert volumes_of("service")[folder] == volumes_of("quickstart")[folder] == "keys"
    assert f"/{name}" in script_of("quickstart", "command")
    variable, *start = shlex.split(COMPOSE_POSTGRES)
    assert start == ["docker", "compose", "--profile", "postgres", "up"]
    name, _, value = variable.partition("=")
    assert value in environment_of("service", **{name: value})["UQ4CT_DATABASE_URL"]
    assert SERVICES["postgres"]["profiles"] == ["postgres"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(MAKE_TEST, ["--numprocesses", "2", "--dist", "loadfile"]), (MAKE_TEST_ALL, ["-m", "not gpu"])],
)
def test_make_test_runs_the_checks_and_this_suite(checkout: Terminal, command: str, arguments: list[str]) -> None:
    *checks, tests = recipe(checkout, command)
    assert tests == [".venv/bin/python", "-m", "pytest", *arguments]
    programs = [Path(words[0]).name for words in checks]
    assert programs == ["ruff", "ruff", "pyright", "pyright", "lint-imports"]


def test_make_bench_runs_modules_that_are_there(checkout: Terminal) -> None:
    steps = recipe(checkout, MAKE_BENCH)
    assert steps
    for python, flag, module in steps:
        assert (python, flag) == (".venv/bin/python", "-m")
        assert importlib.util.find_spec(module) is not None
