"""The section "Live calibration": a recipe's questions are replayed, and the report covers them."""

from __future__ import annotations

import re

import pytest

from tests.readme.examples.service import QUESTIONS, REPLAY, REPORT, REPORT_AGAIN
from tests.readme.terminal import Terminal


@pytest.mark.slow
def test_a_replayed_week_is_in_the_report(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    assert "questions in week.jsonl" in terminal.run(QUESTIONS)
    short = REPLAY.replace("--minutes 10", f"--minutes 0.01 --asked 60 --url http://{address}")
    assert short != REPLAY
    found = re.fullmatch(r"60 answered \(.+ right, 0 abstained\), (\d+) labelled", terminal.run(short).splitlines()[-1])
    assert found is not None
    assert 20 < int(found[1]) <= 60
    assert REPORT.startswith(REPORT_AGAIN)
    terminal.run(REPORT)
    page = (terminal.folder / "report.html").read_text(encoding="utf-8")
    assert "quickstart@1" in page
    assert page.count("<svg") > 3
