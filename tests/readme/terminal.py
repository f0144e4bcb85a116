"""Run the README's commands as written, in a fresh checkout."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.command_line import uq4ct
from tests.ports import free_port
from tests.readme.pages import ROOT
from uq4ct.model_store.base.files import default_cache_dir

START_SECONDS = 120
STOP_SECONDS = 60


def check_out(folder: Path) -> Path:
    """Make a checkout without data in which make, python and the project's modules are found."""
    for name in ("Makefile", "pyproject.toml", "docker"):
        (folder / name).symlink_to(ROOT / name)
    bin_folder = folder / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    for name, arguments in {"python": "", "uq4ct": " -m uq4ct"}.items():
        program = bin_folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n')
        program.chmod(0o755)
    (folder / ".venv" / "installed").touch()
    return folder


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs commands in a checkout, with `sh` or, faster for the project's own commands, in this process."""

    folder: Path
    in_process: bool

    def run(self, command: str, **variables: str) -> str:
        """Run a command, which must succeed, and return its output."""
        words = shlex.split(command, comments=True)
        if self.in_process and words[0] == "uq4ct":
            return self._run_here(words[1:], variables)
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self._environment(variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run_python(self, script: str) -> str:
        """Run a Python script and return its output."""
        if not self.in_process:
            return self.run(f"python -c {shlex.quote(script)}")
        with chdir(self.folder), redirect_stdout(io.StringIO()) as out:
            exec(compile(script, "README", "exec"), {})
        return out.getvalue()

    @contextmanager
    def serve(self, command: str) -> Iterator[str]:
        """Start a service, yield its address once it is ready, and stop it when the block ends."""
        port = free_port()
        environment = self._environment({"UQ4CT_PORT": str(port), "UQ4CT_SHUTDOWN_GRACE_SECONDS": "0"})
        with (self.folder / "serve.log").open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", command], cwd=self.folder, env=environment, stderr=log, start_new_session=True
            )
        try:
            address = f"127.0.0.1:{port}"
            self._wait_until_ready(process, address)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # like Ctrl-C, it also reaches the children of make and sh
            process.wait(STOP_SECONDS)

    def _run_here(self, arguments: list[str], variables: dict[str, str]) -> str:
        with chdir(self.folder):
            done = uq4ct(arguments, env=variables)
        assert done.exit_code == 0, f"{arguments}\n{done.output}"
        return done.stdout

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        fixed = {
            "PATH": f"{self.folder}/.venv/bin{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "UQ4CT_BASE_CACHE_DIR": str(default_cache_dir().absolute()),
        }
        return fixed | variables

    def _wait_until_ready(self, process: subprocess.Popen[bytes], address: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert process.poll() is None, (self.folder / "serve.log").read_text()
            try:
                if httpx2.get(f"http://{address}/health/ready", timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                pass  # not listening yet
            time.sleep(0.1)
        raise TimeoutError(f"not ready within {START_SECONDS} s: {(self.folder / 'serve.log').read_text()}")
