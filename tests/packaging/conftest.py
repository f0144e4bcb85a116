"""The wheel as a user gets it, and environments that contain nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "docker" / "constraints.txt"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with the wheel's base installation."""

    folder: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of its programs in its folder, with no variable of the tests' own environment."""
        program = self.folder / "bin" / command[0]
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder)}
        return subprocess.run(
            [program, *command[1:]], cwd=self.folder, env=environment, capture_output=True, text=True, check=check
        )


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only the tracked files, with their links: building leaves files behind."""
    folder = tmp_path_factory.mktemp("source")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, so that both are tested for completeness."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, capture_output=True, text=True, check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def environments(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Environment]:
    """The base installation on every Python from 3.11 of this machine, by version."""
    found: dict[str, Environment] = {}
    for minor in range(11, 15):
        python = _interpreter(f"3.{minor}")
        if python is None:
            continue
        folder = tmp_path_factory.mktemp(f"python3.{minor}")
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [folder / "bin" / "pip", "install", "--quiet", "--constraint", CONSTRAINTS, wheel]
        subprocess.run(pip, check=True, capture_output=True)
        found[f"3.{minor}"] = Environment(folder)
    return found


def _interpreter(version: str) -> str | None:
    """Return a Python of this version: from the path, or from pyenv."""
    named = shutil.which(f"python{version}")
    if named is not None and not subprocess.run([named, "--version"], capture_output=True, check=False).returncode:
        return named
    if shutil.which("pyenv") is None:
        return None
    latest = subprocess.run(["pyenv", "latest", version], capture_output=True, text=True, check=False)
    if latest.returncode:
        return None
    prefix = subprocess.run(["pyenv", "prefix", latest.stdout.strip()], capture_output=True, text=True, check=True)
    return f"{prefix.stdout.strip()}/bin/python{version}"
