"""A real nginx in front of a service."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.ports import free_port

_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def running_nginx(folder: Path, locations: str) -> Iterator[str]:
    """Run nginx on loopback with these `location` blocks; yield its address.

    AssertionError if it is not installed.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program is not None, "nginx is missing: install it (Debian: apt install nginx)"
    port = free_port()
    (folder / "nginx.conf").write_text(_configuration(folder, port, locations), encoding="utf-8")
    # One process that runs as the user of the tests and can therefore read their folder.
    process = subprocess.Popen([program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"])
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_listening(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _configuration(folder: Path, port: int, locations: str) -> str:
    own_folders = "".join(f"  {name}_temp_path {folder}/{name};\n" for name in _FOLDERS)
    server = f"  server {{\n    listen 127.0.0.1:{port};\n{locations}\n  }}\n"
    main = f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{}}\n"
    return f"{main}http {{\n  access_log off;\n{own_folders}{server}}}\n"


def _wait_until_listening(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, f"nginx ended with {process.returncode}"
        try:
            httpx2.get(address, timeout=5)
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("nginx never listened")
