"""docker/pin_images.sh with a fake docker that answers for the registries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docker.dockerfile import DOCKERFILES, MONITORING, ROOT

FILES = ("docker-compose.yml", *DOCKERFILES, MONITORING)
DIGEST = "sha256:" + "5" * 64
IMAGE = re.compile(r"([a-z/]+:[a-z0-9.-]+)@(sha256:[0-9a-f]{64})")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docker").mkdir()
    for name in (*FILES, "docker/pin_images.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _pin(project: Path, docker: str) -> subprocess.CompletedProcess[str]:
    program = project / "programs" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{docker}\n")
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{os.defpath}"}
    command = ["/bin/sh", "docker/pin_images.sh"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def _texts(folder: Path) -> list[str]:
    return [(folder / name).read_text(encoding="utf-8") for name in FILES]


def test_the_digest_of_every_image_is_replaced_and_nothing_else(project: Path) -> None:
    before = _texts(project)
    assert all(IMAGE.search(text) for text in before)
    done = _pin(project, f'echo "$@" >> calls; echo {DIGEST}')
    assert done.returncode == 0, done.stderr
    assert _texts(project) == [IMAGE.sub(rf"\1@{DIGEST}", text) for text in before]
    names = {name for text in before for name, _ in IMAGE.findall(text)}
    inspect = "buildx imagetools inspect --format {{.Manifest.Digest}}"
    assert set((project / "calls").read_text().splitlines()) == {f"{inspect} {name}" for name in names}
    assert set(done.stdout.splitlines()) == {f"{name}@{DIGEST}" for name in names}


@pytest.mark.parametrize("docker", [
    "exit 1", "echo nothing", f'case "$*" in *postgres*) exit 1;; esac; echo {DIGEST}',
])  # fmt: skip
def test_nothing_is_changed_where_a_registry_does_not_answer(project: Path, docker: str) -> None:
    before = _texts(project)
    done = _pin(project, docker)
    assert done.returncode == 1
    assert re.fullmatch(r"error: no digest of [a-z/]+:[\w.-]+: its registry must be reachable\n", done.stderr)
    assert _texts(project) == before
