"""The commands that start, check and change a service, and those that install the project."""

from __future__ import annotations

import json
import re
import shlex
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.command_line import check_command
from tests.readme.conftest import STORE
from tests.readme.examples.contributing import MAKE_DEMO as MAKE_DEMO_FOR_PICTURES
from tests.readme.examples.root import (
    CITATION,
    INSTALL_ALL,
    INSTALL_BASE,
    INSTALL_CLIENT,
    INSTALL_TORCH,
    MAKE_DEMO,
    MAKE_DEMO_AGAIN,
    MAKE_SERVE,
    MAKE_WITH_INDEX,
)
from tests.readme.examples.service import (
    CHECK,
    CHECK_WITH_SETTINGS,
    HELP,
    KEYS,
    PROMOTE,
    SERVE,
    SERVE_ON_PORT,
    SERVE_WITH_SETTINGS,
)
from tests.readme.examples.training import HELP as HELP_OF_TRAINING
from tests.readme.makefile import recipe
from tests.readme.pages import ROOT
from tests.readme.terminal import Terminal
from uq4ct.model_store.base.identity import EMBEDDED_DISTRIBUTION, EMBEDDED_VERSION
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.verbs import VERBS as SERVICE_VERBS
from uq4ct.training.verbs import VERBS as TRAINING_VERBS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_make_serve_is_the_command_that_serves(checkout: Terminal) -> None:
    check_command(shlex.split(SERVE, comments=True))
    (words,) = recipe(checkout, MAKE_SERVE)
    assert words == [".venv/bin/uq4ct", *shlex.split(SERVE, comments=True)[1:]]


def test_make_demo_is_a_command_of_training(checkout: Terminal) -> None:
    (words,) = recipe(checkout, MAKE_DEMO)
    assert recipe(checkout, MAKE_DEMO_AGAIN) == recipe(checkout, MAKE_DEMO_FOR_PICTURES) == [words]
    check_command(["uq4ct", *words[1:]])


@pytest.mark.parametrize("command", [SERVE_ON_PORT, SERVE_WITH_SETTINGS, CHECK_WITH_SETTINGS])
def test_the_arguments_are_taken(command: str) -> None:
    check_command(command)


def test_check_answers_and_ends(stocked: Terminal) -> None:
    assert json.loads(stocked.run(CHECK))["model"] == "quickstart@1"


def test_every_verb_has_a_help(terminal: Terminal) -> None:
    for command, verbs in {HELP: SERVICE_VERBS, HELP_OF_TRAINING: TRAINING_VERBS}.items():
        for verb in verbs:
            assert f"uq4ct {verb}" in terminal.run(command.replace("VERB", verb))


def test_the_commands_of_keys_are_listed(terminal: Terminal) -> None:
    shown = terminal.run(f"{KEYS} --help")
    assert all(name in shown for name in ("new", "list", "revoke"))


def test_promote_makes_a_version_production_and_takes_the_older_one_back(stocked: Terminal) -> None:
    registry = Registry(stocked.folder / STORE)
    for version in (2, 1):
        stocked.run(PROMOTE.replace("NAME", "quickstart").replace("VERSION", str(version)))
        assert registry.resolve("quickstart") == ("quickstart", version)


def _installed(command: str) -> list[str]:
    program, verb, *words = shlex.split(command, comments=True)
    assert (program, verb) == ("pip", "install")
    return words


def test_make_installs_what_the_readme_installs_without_make(checkout: Terminal) -> None:
    requirement, index_flag, index = _installed(INSTALL_TORCH)
    steps = recipe(checkout, MAKE_WITH_INDEX, installed=False)
    torch, project, base = ([word for word in step[1:] if word != "--quiet"] for step in steps if "install" in step)
    assert torch == ["install", index_flag, index, requirement]
    assert base == ["install", *_installed(INSTALL_BASE)]
    assert base[-1] == f"{EMBEDDED_DISTRIBUTION}=={EMBEDDED_VERSION}"
    (everything,) = _installed(INSTALL_ALL)
    assert project[-1] == everything.replace(PROJECT["name"], ".")


def test_the_readme_installs_this_project_with_extras_that_it_has() -> None:
    client, everything = (Requirement(*_installed(command)) for command in (INSTALL_CLIENT, INSTALL_ALL))
    assert client.name == everything.name == PROJECT["name"]
    assert client.extras == set()
    assert everything.extras <= set(PROJECT["optional-dependencies"])


def test_the_citation_is_an_entry_with_the_fields_of_an_article() -> None:
    assert CITATION.count("{") == CITATION.count("}")
    entry = re.fullmatch(r"@article\{(\w+),\n(.+)\}", CITATION, flags=re.DOTALL)
    assert entry is not None
    fields = re.findall(r"(\w+) += \{", entry[2])
    assert fields == ["title", "author", "journal", "year"]
    assert entry[1] == "niu2024functional"
