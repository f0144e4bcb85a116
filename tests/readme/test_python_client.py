"""The section "Asking from Python", run as it stands."""

from __future__ import annotations

import shlex

from tests.readme.curl import count_labels, send
from tests.readme.examples import CALIBRATION, PYTHON_CLIENT
from tests.readme.terminal import Terminal


def test_the_example_asks_falls_back_and_tells_the_label(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    before = count_labels(send(terminal, CALIBRATION, address))
    assert PYTHON_CLIENT.count("127.0.0.1:8000") == 1
    script = PYTHON_CLIENT.replace("127.0.0.1:8000", address)
    answered, fell_back = terminal.run(f"python -c {shlex.quote(script)}").splitlines()
    option, confidence = answered.rsplit(" ", 1)
    assert option in {"Madrid", "Paris", "Oslo", "Vienna"}
    by, *_ = fell_back.split(" ", 1)
    assert by == ("service" if float(confidence) >= 0.9 else "fallback")
    assert count_labels(send(terminal, CALIBRATION, address)) == before + 1
