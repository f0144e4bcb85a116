"""The commands in .github/CONTRIBUTING.md."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.readme.examples.contributing import (
    CLONE,
    CONTRACTS,
    ENABLE_LINKS,
    FIX,
    FORMAT,
    FREEZE,
    MAKE_AUDIT,
    MAKE_BENCH,
    MAKE_GPU,
    MAKE_LOCK,
    MAKE_PIN_IMAGES,
    MAKE_TEST,
    MAKE_TEST_AGAIN,
    MAKE_TEST_ALL,
    MAKE_TEST_ALL_AGAIN,
    PICTURES,
    TEST_FOLDER,
    TEST_GPU,
    TEST_SLOW,
    TYPES,
)
from tests.readme.examples.root import MAKE_TEST as MAKE_TEST_OF_README
from tests.readme.makefile import recipe
from tests.readme.pages import ROOT
from tests.readme.terminal import Terminal

PYTEST = [".venv/bin/python", "-m", "pytest"]
IN_TWO = ["--numprocesses", "2", "--dist", "loadfile"]
QUICK = [*PYTEST, *IN_TWO]
SLOW = ["OMP_NUM_THREADS=1", *PYTEST, "-m", "slow and not timed and not gpu", *IN_TWO]
TIMED = [*PYTEST, "-m", "timed"]
OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]


def _words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


def test_a_clone_holds_the_package_behind_its_links(checkout: Terminal) -> None:
    assert checkout.run(f"{ENABLE_LINKS} && git config --global core.symlinks") == "true\n"
    source = f"file://{ROOT.resolve()}"
    top = checkout.run(f"{CLONE.replace('<repository>', source)} && git rev-parse --show-toplevel")
    assert Path(top.strip()).resolve() == (checkout.folder / "uq4ct").resolve()
    assert (checkout.folder / "uq4ct/.src/uq4ct/service/settings.py").is_file()


@pytest.mark.parametrize(
    ("command", "further"),
    [
        (MAKE_TEST, []),
        (MAKE_TEST_AGAIN, []),
        (MAKE_TEST_OF_README, []),
        (MAKE_TEST_ALL, [SLOW, TIMED]),
        (MAKE_TEST_ALL_AGAIN, [SLOW, TIMED]),
    ],
)
def test_make_test_runs_the_checks_and_this_suite(checkout: Terminal, command: str, further: list[list[str]]) -> None:
    steps = recipe(checkout, command)
    assert [Path(words[0]).name for words in steps[:5]] == ["ruff", "ruff", "pyright", "pyright", "lint-imports"]
    assert steps[5:] == [QUICK, *further]


def test_the_commands_of_style_are_the_checks_of_make_with_repairs(checkout: Terminal) -> None:
    *checks, _ = recipe(checkout, MAKE_TEST)
    plain = [[word for word in words if word != "--check"] for words in checks]
    for command in (FIX, FORMAT, CONTRACTS, TYPES):
        assert [word for word in _words(command) if word != "--fix"] in plain


def test_make_bench_and_make_gpu_run_modules_that_are_there(checkout: Terminal) -> None:
    steps = [*recipe(checkout, MAKE_BENCH), *recipe(checkout, MAKE_GPU)]
    assert len(steps) > 1
    for python, flag, module in steps:
        assert (python, flag) == (".venv/bin/python", "-m")
        assert importlib.util.find_spec(module) is not None


def test_the_pictures_are_made_by_a_module_that_is_there() -> None:
    python, flag, module = _words(PICTURES)
    assert (python, flag) == (".venv/bin/python", "-m")
    assert importlib.util.find_spec(module) is not None


def test_the_commands_of_pytest_name_folders_and_markers_that_are_there() -> None:
    markers = {marker.partition(":")[0] for marker in OPTIONS["markers"]}
    for command in (TEST_FOLDER, TEST_SLOW, TEST_GPU):
        words = _words(command)
        assert words[:3] == PYTEST
        if "-m" in words[3:]:
            assert words[words.index("-m", 3) + 1] in markers
        assert all((ROOT / word).is_dir() for word in words if word.startswith("tests/"))


def test_freezing_names_everything_that_the_project_depends_on(checkout: Terminal) -> None:
    pip = checkout.folder / ".venv/bin/pip"
    pip.write_text(f'#!/bin/sh\nexec {checkout.folder}/.venv/bin/python -m pip "$@"\n')
    pip.chmod(0o755)
    frozen = {canonicalize_name(re.split("==| @ ", line)[0]) for line in checkout.run(FREEZE).splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    kinds = (project["dependencies"], *project["optional-dependencies"].values())
    needed = {canonicalize_name(Requirement(one).name) for kind in kinds for one in kind}
    assert needed - {"uq4ct"} <= frozen


def test_make_has_what_keeps_the_images_up_to_date(checkout: Terminal) -> None:
    locked = {file.name for file in (ROOT / "docker/lock").iterdir()}
    written = [Path(words[-1]).name for words in recipe(checkout, MAKE_LOCK)]
    assert (len(written), set(written)) == (len(locked), locked)
    assert recipe(checkout, MAKE_PIN_IMAGES) == [["sh", "docker/pin_images.sh"]]
    ((program, *words),) = recipe(checkout, MAKE_AUDIT)
    assert Path(program).name == "pip-audit"
    assert {"--strict", "--require-hashes"} <= set(words)
    assert {Path(word).name for word in words if word.endswith(".txt")} == locked - {"sbom.txt"}
