"""Help is fast, and neither it nor a drawing depends on the backend that MPLBACKEND names."""

from __future__ import annotations

import ast
import os
import re
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_SECONDS = 0.5
_BACKENDS = ["module://matplotlib_inline.backend_inline", "no-such-backend"]

_DRAW = """
from uq4ct.service.reports.figures import draw_days
from uq4ct.model_store.questions import Question
from uq4ct.training.evaluation.reliability_diagram import reliability_png
from uq4ct.training.evaluation.scores import score_answers
from uq4ct.training.study.document import Chart, Panel
from uq4ct.training.study.drawing import chart_png, panel_svg
from tests.answers import make_answer
questions = [Question("1", "Which?", ("a", "b"), answer=0)]
png = reliability_png(score_answers([make_answer((0.75, 0.25))], questions), "title")
panel = Panel("one", lambda axes: axes.plot([0, 1], [0, 1]))
chart = Chart("name", "title", (panel,), "caption")
print(png[:4] == chart_png(chart)[:4], panel_svg(chart, panel)[:4], draw_days([])[:4])
import os, sys
print(os.environ["MPLBACKEND"], "matplotlib.pyplot" in sys.modules)
"""


def unguarded_imports(source: str) -> list[str]:
    """Return the imports of matplotlib outside `if TYPE_CHECKING` and `with hidden_variable("MPLBACKEND")`."""
    tree = ast.parse(source)
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        or (isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr) == "hidden_variable('MPLBACKEND')")
        for inner in ast.walk(node)
    }
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    lines = [ast.unparse(node) for node in imports if id(node) not in guarded]
    return [line for line in lines if re.match(r"(from|import) matplotlib\b", line)]


def _run(arguments: list[str], backend: str | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    if backend is not None:
        environment["MPLBACKEND"] = backend
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _processor_seconds(arguments: list[str]) -> float:
    """Return the processor time of a command, which depends little on the machine's load."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def test_help_is_fast_and_loads_no_library() -> None:
    seconds = [_processor_seconds(["-m", "uq4ct", "--help"]) for _ in range(5)]
    assert statistics.median(seconds) < _SECONDS, seconds
    code = "import sys; from uq4ct.command import main; main(['--help']); print(*sys.modules)"
    loaded = set(_run(["-c", code]).splitlines()[-1].split())
    assert loaded & {"matplotlib", "numpy", "pydantic", "rich", "torch", "transformers", "typer"} == set()


@pytest.mark.parametrize("backend", _BACKENDS)
def test_help_ignores_the_backend(backend: str) -> None:
    assert "Verbs of uq4ct[train]" in _run(["-m", "uq4ct", "--help"], backend)


def test_matplotlib_is_imported_for_types_or_without_the_backend_only() -> None:
    files = [file for top in ("model_store", "service", "training") for file in (ROOT / top).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix(): unguarded_imports(file.read_text("utf-8")) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}
    assert unguarded_imports("def draw():\n    from matplotlib.figure import Figure")


@pytest.mark.parametrize("backend", _BACKENDS)
def test_a_figure_of_training_ignores_the_backend(backend: str) -> None:
    code = "from uq4ct.training.evaluation.axes import new_figure; new_figure(1, 1).savefig('/dev/null', format='png')"
    _run(["-c", code], backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", _BACKENDS)
def test_drawings_ignore_the_backend_and_leave_the_variable_as_it_was(backend: str) -> None:
    pictures, state = _run(["-c", _DRAW], backend).splitlines()
    assert pictures == "True <svg <svg"
    assert state == f"{backend} False"
