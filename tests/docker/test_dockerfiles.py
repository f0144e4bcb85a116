from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from typer.exceptions import TyperException

from tests.command_line import check_command
from tests.docker.dockerfile import DOCKERFILES, ROOT, Dockerfile, is_ignored, read_dockerfile
from uq4ct.model_store.base.models import EMBEDDED_DISTRIBUTION, EMBEDDED_VERSION
from uq4ct.service.settings import Settings, SettingsError, read_settings

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERIGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8")
SERVICE, TRAINING = DOCKERFILES

SETTINGS = {f"UQ4CT_{name.upper()}" for name in Settings.model_fields}
OF_THE_STORE = {"UQ4CT_MODEL_STORE_DIR", "UQ4CT_BASE_CACHE_DIR"}
OF_PYTHON = {"PYTHONSAFEPATH", "PYTHONUNBUFFERED"}

every_image = pytest.mark.parametrize("path", DOCKERFILES)


def test_continued_lines_and_comments_are_read_as_docker_reads_them() -> None:
    text = '# a\nFROM x\n\nRUN a \\\n    # between\n    && b\nENV A=1 \\\n    B=\'2 3\'\nCMD ["c", "\\\nd"]\n'
    file = Dockerfile(text)
    assert [instruction.keyword for instruction in file.instructions] == ["FROM", "RUN", "ENV", "CMD"]
    assert shlex.split(file.only("RUN")) == ["a", "&&", "b"]
    assert file.environment == {"A": "1", "B": "2 3"}
    assert file.command == ["c", "d"]


@pytest.mark.parametrize(
    ("path", "patterns", "ignored"),
    [
        ("a", "*", True),
        ("a/b/c", "*", True),
        ("a/b", "*\n!a", False),
        ("a/b", "*\n!a\na/b", True),
        ("ab", "*\n!a", True),
        ("a/b/c.pyc", "*.pyc", False),
        ("a/b/c.pyc", "**/*.pyc", True),
        ("c.pyc", "**/*.pyc", True),
        ("a/__pycache__/x", "**/__pycache__", True),
        ("a/b", "# a\n/a/\n", True),
        ("a1", "a?", True),
    ],
)
def test_the_last_matching_pattern_decides_what_is_ignored(path: str, patterns: str, ignored: bool) -> None:
    assert is_ignored(path, patterns) is ignored


@every_image
def test_every_copied_path_is_there_and_reaches_the_build(path: str) -> None:
    for source in read_dockerfile(path).sources:
        assert (ROOT / source).exists(), source
        assert not is_ignored(source, DOCKERIGNORE), source


@every_image
def test_every_file_that_the_project_installs_is_copied(path: str) -> None:
    copied = read_dockerfile(path).sources
    suffixes = {".py", ".tsv", ".yaml", ".html", ".css", ".js", ".svg", ".typed"}
    tops = (".src/uq4ct", "model_store", "service", "training")
    installed = [file for top in tops for file in (ROOT / top).rglob("*") if file.suffix in suffixes]
    assert len(installed) > 200
    for file in installed:
        name = file.relative_to(ROOT).as_posix()
        assert any(name.startswith(f"{source}/") for source in copied), name
        assert not is_ignored(name, DOCKERIGNORE), name


@every_image
def test_the_links_of_the_package_lead_to_folders_that_are_copied(path: str) -> None:
    links = {link.name: link.readlink().as_posix() for link in (ROOT / ".src" / "uq4ct").iterdir() if link.is_symlink()}
    assert links == {name: f"../../{name}" for name in ("model_store", "service", "training")}
    assert links.keys() <= set(read_dockerfile(path).sources)


@every_image
def test_what_the_build_reads_besides_packages_is_copied(path: str) -> None:
    needed = {
        "pyproject.toml",
        "docker/constraints.txt",
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
    }
    assert needed <= set(read_dockerfile(path).sources)


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".env",
        ".venv/bin/python",
        "runs/quickstart/result.json",
        "tests/docker/dockerfile.py",
        "model_store/artifacts/adapters/facts/1/adapter.safetensors",
        "service/__pycache__/app.cpython-311.pyc",
    ],
)
def test_what_is_private_or_made_here_stays_out_of_the_build(path: str) -> None:
    assert is_ignored(path, DOCKERIGNORE)


@every_image
def test_the_base_image_is_a_patch_release_that_the_project_supports(path: str) -> None:
    found = re.fullmatch(r"python:(\d+)\.(\d+)\.\d+-slim-[a-z]+", read_dockerfile(path).only("FROM"))
    assert found is not None
    assert f"Programming Language :: Python :: {found[1]}.{found[2]}" in PROJECT["project"]["classifiers"]


def _run_with_recorded_pip(path: str, folder: Path, arguments: dict[str, str]) -> list[list[str]]:
    """Run the steps of a Dockerfile that call pip, with a fake pip that only records its arguments."""
    log, programs = folder / "pip.jsonl", folder / "programs"
    programs.mkdir()
    pip = programs / "pip"
    pip.write_text(
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]), file=open({str(log)!r}, 'a'))\n"
    )
    pip.chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    file = read_dockerfile(path)
    environment = file.arguments | arguments | {"PATH": f"{programs}:{os.defpath}"}
    for step in file.values("RUN"):
        if "pip install" in step:
            subprocess.run(["/bin/sh", "-c", step], cwd=folder, env=environment, check=True)
    return [json.loads(line) for line in log.read_text().splitlines()]


@every_image
def test_the_steps_install_the_pinned_base_model_all_dependencies_and_the_project(path: str, tmp_path: Path) -> None:
    base, dependencies, project = _run_with_recorded_pip(path, tmp_path, {})
    assert base[-2:] == ["--no-deps", f"{EMBEDDED_DISTRIBUTION}=={EMBEDDED_VERSION}"]
    extras = read_dockerfile(path).arguments["EXTRAS"]
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    assert dependencies[-3:] == ["--constraint", "docker/constraints.txt", f".[{extras}]"]
    assert project[-3:] == ["--no-deps", "--force-reinstall", "."]


@every_image
def test_an_index_of_torch_builds_is_used_for_the_pinned_torch_and_for_nothing_else(path: str, tmp_path: Path) -> None:
    index = "https://index.example"
    torch, *others = _run_with_recorded_pip(path, tmp_path, {"TORCH_INDEX_URL": index})
    constraints = (ROOT / "docker" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pin = next(one for one in constraints if one.startswith("torch=="))
    assert torch[-3:] == ["--index-url", index, pin]
    assert not any(index in argument for call in others for argument in call)


@every_image
def test_dependencies_are_a_layer_of_their_own_before_the_code(path: str) -> None:
    instructions = read_dockerfile(path).instructions
    copies = [i for i, one in enumerate(instructions) if one.keyword == "COPY"]
    dependencies = next(i for i, one in enumerate(instructions) if "--constraint" in one.value)
    before = [instructions[i].value.split()[0] for i in copies if i < dependencies]
    assert before == ["pyproject.toml", "docker/constraints.txt", ".src/uq4ct/__init__.py"]


@every_image
def test_the_image_runs_as_a_fixed_user_who_owns_the_data_folder(path: str) -> None:
    file = read_dockerfile(path)
    keywords = [instruction.keyword for instruction in file.instructions]
    assert keywords.index("USER") < keywords.index("CMD")
    user, group = file.only("USER").split(":")
    assert int(user) > 1000
    (creation,) = [step for step in file.values("RUN") if "useradd" in step]
    assert f"--uid {user} --gid {group} " in creation
    home = file.values("WORKDIR")[-1]
    assert f"--home-dir {home} " in creation
    assert creation.endswith(f" {home}")
    assert all(Path(file.environment[name]).is_relative_to(home) for name in OF_THE_STORE)


def test_both_images_share_what_makes_a_shared_volume_work() -> None:
    service, training = map(read_dockerfile, DOCKERFILES)
    assert service.only("FROM") == training.only("FROM")
    assert service.only("USER") == training.only("USER")
    assert service.values("WORKDIR") == training.values("WORKDIR")
    assert {name: service.environment[name] for name in OF_THE_STORE} == {
        name: training.environment[name] for name in OF_THE_STORE
    }


@every_image
def test_every_variable_is_one_that_something_reads(path: str) -> None:
    names = set(read_dockerfile(path).environment)
    known = OF_THE_STORE | OF_PYTHON | (SETTINGS if path == SERVICE else set())
    assert {name for name in names - known if not name.startswith("HF_")} == set()


@every_image
def test_nothing_secret_is_built_in(path: str) -> None:
    file = read_dockerfile(path)
    assert not [name for name in file.environment | file.arguments if re.search("KEY|TOKEN|SECRET|PASSWORD", name)]


def test_the_service_opens_without_keys_only_if_told_to() -> None:
    environment = read_dockerfile(SERVICE).environment
    with pytest.raises(SettingsError, match="ALLOW_PUBLIC_WITHOUT_KEYS"):
        read_settings(environment, {})
    agreed = environment | {"UQ4CT_ALLOW_PUBLIC_WITHOUT_KEYS": "true"}
    settings = read_settings(agreed, {})
    assert settings.host == "0.0.0.0"
    assert str(settings.port) == read_dockerfile(SERVICE).only("EXPOSE")


@every_image
def test_the_command_is_one_that_the_project_has(path: str) -> None:
    check_command(read_dockerfile(path).command)
    assert read_dockerfile(path).only("STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["train"], ["train", "quickstart", "--no-such-option"]])
def test_a_wrong_command_would_be_noticed(arguments: list[str]) -> None:
    with pytest.raises(TyperException):
        check_command(["uq4ct", *arguments])


@pytest.mark.slow
@every_image
def test_the_module_of_the_command_starts(path: str) -> None:
    _, *arguments = read_dockerfile(path).command
    command = [sys.executable, "-m", "uq4ct", *arguments, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"uq4ct {arguments[0]}" in done.stdout


def test_a_command_that_ends_has_no_health_check() -> None:
    assert read_dockerfile(TRAINING).only("HEALTHCHECK") == "NONE"


@contextmanager
def _answering(status: int, seen: list[str]) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the base class calls
            seen.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _check_health(port: int) -> int:
    options, command = read_dockerfile(SERVICE).only("HEALTHCHECK").split(" CMD ", 1)
    assert {option.split("=")[0] for option in options.split()} == {
        "--interval", "--timeout", "--start-period", "--retries",
    }  # fmt: skip
    python, *arguments = json.loads(command)
    assert python == "python"
    environment = {"UQ4CT_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}  # where nothing listens
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (500, 1), (404, 1)])
def test_the_health_check_follows_the_answer_of_live(status: int, code: int) -> None:
    seen: list[str] = []
    with _answering(status, seen) as port:
        assert _check_health(port) == code
    assert seen == ["/health/live"]


def test_the_health_check_fails_where_nobody_listens() -> None:
    with socket.socket() as bound_but_deaf:
        bound_but_deaf.bind(("127.0.0.1", 0))
        assert _check_health(bound_but_deaf.getsockname()[1]) == 1
