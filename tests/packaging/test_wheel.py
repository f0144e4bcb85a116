"""`pip install uq4ct` installs one package and only the HTTP client."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import uq4ct
from tests.packaging.conftest import ROOT, Environment
from uq4ct.service.verbs import VERBS as SERVICE_VERBS
from uq4ct.training.verbs import VERBS as TRAINING_VERBS

pytestmark = pytest.mark.slow

_HELP_SECONDS = 0.5
_OF_TRAINING_OR_SERVICE = {"torch", "numpy", "transformers", "peft", "fastapi", "sqlalchemy", "typer", "matplotlib"}


def test_the_wheel_holds_the_package_and_its_metadata_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert tops == {"uq4ct", f"uq4ct-{uq4ct.__version__}.dist-info"}


def test_the_wheel_holds_every_module_and_every_file_of_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    suffixes = {".py", ".typed", ".tsv", ".yaml", ".html", ".css", ".js", ".svg"}
    own = {f"uq4ct/{file.name}" for file in (ROOT / ".src" / "uq4ct").iterdir() if file.suffix in suffixes}
    folders = {
        f"uq4ct/{file.relative_to(ROOT).as_posix()}"
        for top in ("model_store", "service", "training")
        for file in (ROOT / top).rglob("*")
        if file.suffix in suffixes
    }
    folders |= {f"uq4ct/{path.relative_to(ROOT)}" for path in (ROOT / "service/schemas/examples").glob("*.json")}
    folders.add("uq4ct/service/runbook/RUNBOOK.md")
    assert {name for name in packed if not name.startswith(f"uq4ct-{uq4ct.__version__}")} == own | folders


def test_the_base_installation_is_an_http_client_and_pydantic(environments: dict[str, Environment]) -> None:
    assert f"3.{sys.version_info.minor}" in environments
    for version, environment in environments.items():
        listed = json.loads(environment.run("pip", "list", "--format", "json").stdout)
        names = {one["name"].lower() for one in listed}
        assert {"uq4ct", "httpx2", "pydantic"} <= names, version
        assert not names & _OF_TRAINING_OR_SERVICE, version
        assert len(names) <= 16, (version, sorted(names))


def test_the_client_asks_a_service_from_the_base_installation(environments: dict[str, Environment]) -> None:
    code = (
        "import sys, httpx2, uq4ct.client\n"
        "from uq4ct.client import *\n"
        "answer = httpx2.Response(503, headers={'Retry-After': '1'})\n"
        "transport = httpx2.MockTransport(lambda request: answer)\n"
        "try:\n"
        "    Client('http://service', transport=transport, retries=Retries(attempts=1)).predict('Q', ['a', 'b'])\n"
        "except UnavailableError as error:\n"
        "    print(error.status)\n"
        "print(sorted(set(sys.modules) & {'torch', 'numpy', 'fastapi'}))\n"
    )
    for version, environment in environments.items():
        assert environment.run("python", "-W", "error", "-c", code).stdout.split("\n")[:2] == ["503", "[]"], version


def test_help_shows_what_is_installed_and_what_to_install(environments: dict[str, Environment]) -> None:
    for environment in environments.values():
        shown = environment.run("uq4ct", "--help").stdout
        assert "Verbs of" not in shown
        for extra, verbs in {"serve": SERVICE_VERBS, "train": TRAINING_VERBS}.items():
            assert f"Not installed (pip install 'uq4ct[{extra}]'): {', '.join(verbs)}" in shown
        assert environment.run("uq4ct", "--version").stdout == f"uq4ct {uq4ct.__version__}\n"
        refused = environment.run("uq4ct", "serve", check=False)
        assert refused.returncode == 2
        assert "pip install 'uq4ct[serve]'" in refused.stderr


def _processor_seconds(command: list[str]) -> float:
    """Return the processor time of a command, independent of the machine's load."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def test_help_is_fast_in_a_whole_and_in_a_base_installation(environments: dict[str, Environment]) -> None:
    base = environments[f"3.{sys.version_info.minor}"].folder / "bin" / "python"
    for python in (base, Path(sys.executable)):
        seconds = [_processor_seconds([str(python), "-m", "uq4ct", "--help"]) for _ in range(5)]
        assert statistics.median(seconds) < _HELP_SECONDS, (python, seconds)


@pytest.mark.parametrize("arguments", [["serve", "--help"], ["train", "--help"]])
def test_folders_of_the_users_own_do_not_shadow_the_package(arguments: list[str], tmp_path: Path) -> None:
    for name in ("service", "training", "model_store"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the folder of the user was imported')")
    environment = dict(os.environ) | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "uq4ct", *arguments]
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"uq4ct {arguments[0]}" in shown
