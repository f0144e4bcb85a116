"""Programs that use the client pass strict type checkers."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import uq4ct.client

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("typed_program.py")
WRONG = """
from uq4ct.client import Client

def use(client: Client) -> None:
    client.predict_batch([{"question": 1, "options": ["a", "b"]}])
    client.predict("Which?", ["a", "b"], abstain_under=0.5)
    index: str = client.predict("Which?", ["a", "b"]).option.index
    print(index)
"""


def find_with_pyright(folder: Path, program: str) -> list[dict[str, Any]]:
    """Return what pyright finds in strict mode in a program outside of the project."""
    (folder / "program.py").write_text(program)
    (folder / "pyrightconfig.json").write_text(json.dumps({"include": ["program.py"], "typeCheckingMode": "strict"}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return report["generalDiagnostics"]


def find_with_mypy(folder: Path, program: str) -> list[str]:
    """Return what mypy finds in strict mode in a program and in the modules of the client."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "program.py"]
    environment = os.environ | {"MYPYPATH": str(ROOT / ".src")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def test_the_typed_program_uses_every_public_name() -> None:
    tree = ast.parse(PROGRAM.read_text())
    (imported,) = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "uq4ct.client"
    ]
    names = {alias.name for alias in imported.names}
    assert names == set(uq4ct.client.__all__)
    assert names <= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_pyright_finds_nothing_in_strict_mode(tmp_path: Path) -> None:
    assert find_with_pyright(tmp_path, PROGRAM.read_text()) == []


def test_mypy_finds_nothing_in_strict_mode(tmp_path: Path) -> None:
    assert find_with_mypy(tmp_path, PROGRAM.read_text()) == []


def test_mypy_finds_what_is_wrong(tmp_path: Path) -> None:
    assert [line.split(":")[1] for line in find_with_mypy(tmp_path, WRONG)] == ["5", "6", "7"]


def test_pyright_finds_what_is_wrong(tmp_path: Path) -> None:
    found = find_with_pyright(tmp_path, WRONG)
    assert {one["range"]["start"]["line"] for one in found if one["severity"] == "error"} == {4, 5, 6}
