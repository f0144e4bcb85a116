"""Send the README's curl commands, with httpx2 if curl is not installed."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
from string import Template
from typing import Any

import httpx2

from tests.readme.terminal import Terminal
from uq4ct.service.schemas.calibration import CalibrationReport

HAS_CURL = shutil.which("curl") is not None
WRITTEN_ADDRESS = "localhost:8000"
WITH_KEY = ' -H "authorization: Bearer $KEY"'


def send(terminal: Terminal, command: str, address: str, **variables: str) -> Any:
    """Send a curl command to this address instead of its own; return the JSON response."""
    assert WRITTEN_ADDRESS in command
    command = command.replace(WRITTEN_ADDRESS, address)
    return json.loads(terminal.run(command, **variables)) if HAS_CURL else send_without_curl(command, **variables)


def send_without_curl(command: str, **variables: str) -> Any:
    """Send a curl command with httpx2; return the JSON response. SystemExit on an unsupported option."""
    parser = argparse.ArgumentParser(prog="curl", allow_abbrev=False)
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="body")
    parser.add_argument("url")
    program, *words = shlex.split(Template(command).substitute(variables), comments=True)
    assert program == "curl"
    line = parser.parse_args(words)
    headers = dict(header.split(": ", 1) for header in line.headers)
    method = "GET" if line.body is None else "POST"
    return httpx2.request(method, f"http://{line.url}", headers=headers, content=line.body, timeout=60).json()


def count_labels(report: Any) -> int:
    """The number of labels in a report of /calibration."""
    models = CalibrationReport.model_validate(report).models
    return sum(one.labelled.questions for one in models if one.labelled is not None)
