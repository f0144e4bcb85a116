from __future__ import annotations

import pytest

from tests.old_names import old_names


@pytest.mark.parametrize(("source", "found"), [
    ("import service", True), ("import os, training.cli as cli", True), ("from model_store.frozen import Frozen", True),
    ("def late():\n    import httpx", True), ("import importlib\nimportlib.import_module('service.app')", True),
    ("pytest.importorskip('httpx')", True), ("__import__('training')", True),
    ("run([sys.executable, '-m', 'service', 'serve'])", True), ("run(python, '-m', 'training.cli')", True),
    ("run('python -m service --help')", True), ("f'python -m training {recipe}'", True),
    ("CODE = '''\n  import sys\n  from service.app import create_app\n'''", True),
    ("import uq4ct.service", False), ("from uq4ct import model_store", False), ("CODE = 'import uq4ct.service'", False),
    ("from . import service", False), ("import httpx2", False), ("import services", False),
    ("run([sys.executable, '-m', 'uq4ct', 'serve'])", False), ("text = 'the service imports training'", False),
    ("{'service': 1}['service']", False), ("run('python -m pytest')", False),
])  # fmt: skip
def test_an_old_name_would_be_found(source: str, found: bool) -> None:
    assert (old_names(source) != []) is found
