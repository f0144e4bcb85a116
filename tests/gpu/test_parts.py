"""Cases within a budget: a case that is late, lacks an import or raises becomes a row, and the others run."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.gpu.parts import PARTS, Budget, Case, NotRunError, Part, PeakMemory, Setting, run_part
from tests.gpu.report import Figure

ROOT = Path(__file__).parents[2]
SETTING = Setting(torch.device("cpu"), "tiny", Path("nowhere"))


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Part:
    """A part of four cases: a good one, two that end early, and a good one again."""

    def fail() -> Sequence[Figure]:
        raise RuntimeError("no memory")

    def skip() -> Sequence[Figure]:
        raise NotRunError("needs a CUDA device")

    good = Case("good", lambda: [Figure("x", 1.0, at_most=2.0)], 10.0)
    module = types.ModuleType("made_up_part")
    listed = [good, Case("a", fail, 10.0), Case("b", skip, 10.0), good]
    monkeypatch.setattr(module, "cases", lambda setting: listed, raising=False)
    monkeypatch.setitem(sys.modules, "made_up_part", module)
    return Part("made up", "made_up_part", ("torch",))


def test_a_case_that_breaks_off_leaves_the_others(part: Part) -> None:
    rows = list(run_part(part, SETTING, Budget(60.0)))
    assert [row.result for row in rows] == ["passed", "failed", "not run", "passed"]
    assert rows[1].error == "RuntimeError: no memory"
    assert (rows[2].not_run, rows[2].expected) == ("needs a CUDA device", True)
    assert rows[0].peak_megabytes is not None


def test_a_case_that_would_end_late_is_not_begun(part: Part) -> None:
    times = iter([0.0, 0.0, 10.0, 50.0, 50.1])  # of the start, and before each case
    rows = list(run_part(part, SETTING, Budget(60.0, lambda: next(times))))
    assert [row.result for row in rows] == ["passed", "failed", "not run", "not run"]
    assert rows[2].expected
    assert rows[3].not_run == "out of time (takes about 10 s)"
    assert not rows[3].expected


def test_a_part_without_its_imports_says_what_it_needs() -> None:
    (row,) = run_part(Part("x", "never_imported", ("torch", "no-such-distribution")), SETTING, Budget(60.0))
    assert row.not_run == "needs no-such-distribution"
    assert not row.expected


def test_a_part_that_cannot_be_imported_has_failed() -> None:
    (row,) = run_part(Part("x", "no_such_module", ("torch",)), SETTING, Budget(60.0))
    assert row.result == "failed"
    assert "no_such_module" in (row.error or "")


def test_the_peak_counts_what_was_freed_again() -> None:
    memory = PeakMemory(torch.device("cpu"))
    before = memory.megabytes()
    torch.ones(50_000_000).sum()
    assert memory.megabytes() > before + 150


def test_a_part_needs_only_what_the_project_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    declared = {canonicalize_name(Requirement(one).name) for kind in (project["dependencies"], *extras) for one in kind}
    assert {need for part in PARTS for need in part.needs} <= declared


def test_every_wheel_of_the_list_is_one_with_a_pinned_version() -> None:
    wheels = (ROOT / "tests" / "gpu" / "wheels.txt").read_text(encoding="utf-8")
    pins = (ROOT / "docker" / "constraints.txt").read_text(encoding="utf-8")
    named = {canonicalize_name(line) for line in wheels.splitlines() if not line.startswith("#")}
    assert named <= {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)}


def test_every_part_can_run_here() -> None:
    assert {part.name: part.missing() for part in PARTS} == {part.name: [] for part in PARTS}
