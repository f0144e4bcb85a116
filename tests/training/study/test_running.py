"""A real study of tiny models: shared runs, resumed rows, and failures that do not stop it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from uq4ct.model_store.question_files import QuestionFileError
from uq4ct.training.evaluation.predictions import read_predictions
from uq4ct.training.evaluation.scores import compute_scores, score_answers
from uq4ct.training.study.config import Study, load_study
from uq4ct.training.study.document import Heading, TableBlock
from uq4ct.training.study.report import build_report
from uq4ct.training.study.results import read_results
from uq4ct.training.study.rows import ROWS_FILE, FailedRow, FinishedRow, RowFile
from uq4ct.training.study.running import RUNS_FOLDER, run_study

SINGLE = {"experts": 1, "top_k": 1}
METHODS: dict[str, Any] = {
    "lora": {"method": "lora", "adapter": SINGLE},
    "mc_dropout": {"method": "mc_dropout", "adapter": SINGLE, "options": {"samples": 3}},
    "ensemble": {"method": "ensemble", "adapter": SINGLE, "options": {"members": 2}},
    "uq4ct": {"method": "uq4ct", "adapter": {"experts": 4, "top_k": 2}, "loss": {"calibration": 1.0}},
}
BROKEN = {"method": "lora", "adapter": SINGLE, "optimizer": {"learning_rate": 1e30, "clip_norm": 1e30}}

MakeTinyStudy = Callable[..., Study]


@pytest.fixture(scope="module")
def write_tiny_study(tiny_folder: Path, tiny_data: Path) -> Callable[..., Path]:
    """Write a recipe of four methods on the tiny base and task; top-level fields can be overridden."""

    def write(path: Path, **changes: Any) -> Path:
        files = {name: str(tiny_data / f"{name}.jsonl") for name in ("train", "calibration", "test")}
        record = {
            "name": "tiny",
            "base": {"name": str(tiny_folder), "device": "cpu", "dtype": "float32"},
            "adapter": {"rank": 2, "alpha": 4, "dropout": 0.1},
            "loss": {"calibration": 0},
            "optimizer": {"learning_rate": 1e-2},
            "training": {"epochs": 1, "batch_questions": 16},
            "data_sets": {"colours": {"data": {"source": "jsonl", **files, "shift": {"far": files["test"]}}}},
            "methods": METHODS,
            "calibrations": ["none", "temperature", "feu_temperature"],
            "baseline": "lora",
            "baseline_calibration": "temperature",
        }
        record["data_sets"]["colours"]["data"]["shift"] = {"far": str(tiny_data / "shift.jsonl")}
        path.write_text(yaml.safe_dump(record | changes, sort_keys=False))
        return path

    return write


def test_questions_are_read_before_anything_is_trained(
    write_tiny_study: Callable[..., Path], tiny_data: Path, tmp_path: Path, quiet: Console
) -> None:
    """A study of days must not fail at its last data set because of missing files."""
    path = write_tiny_study(tmp_path / "tiny.yaml")
    record = yaml.safe_load(path.read_text())
    files = record["data_sets"]["colours"]["data"] | {"test": str(tmp_path / "none.jsonl")}
    record["data_sets"]["shapes"] = {"data": files}
    path.write_text(yaml.safe_dump(record, sort_keys=False))
    with pytest.raises(QuestionFileError, match=r"none\.jsonl"):
        run_study(load_study(path), tmp_path / "study", quiet)
    assert not (tmp_path / "study").exists()


@pytest.fixture(scope="module")
def finished_study(
    write_tiny_study: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, Path]:
    """A finished study and its folder, with what it printed in `said.txt`; tests only read it."""
    folder = tmp_path_factory.mktemp("study")
    study = load_study(write_tiny_study(folder / "tiny.yaml"))
    console = Console(record=True, width=200, file=io.StringIO())
    assert run_study(study, folder, console) == []
    (folder / "said.txt").write_text(console.export_text())
    return study, folder


def finished_rows(folder: Path) -> dict[str, FinishedRow]:
    return {row.label: row for row in RowFile(folder).read() if isinstance(row, FinishedRow)}


@pytest.mark.slow
def test_every_cell_has_a_row_with_every_split_and_calibration(finished_study: tuple[Study, Path]) -> None:
    rows = finished_rows(finished_study[1])
    assert list(rows) == list(METHODS)
    pairs = {label: [(item.split, item.calibration) for item in row.scored] for label, row in rows.items()}
    plain = [(split, name) for split in ("test", "far") for name in ("none", "temperature")]
    assert pairs["lora"] == pairs["ensemble"] == plain
    routed = [(split, name) for split in ("test", "far") for name in ("none", "temperature", "feu_temperature")]
    assert pairs["uq4ct"] == routed
    assert [rows[label].passes for label in METHODS] == [1, 3, 2, 1]
    assert rows["ensemble"].trained_parameters == 2 * rows["lora"].trained_parameters
    assert rows["ensemble"].train_seconds > rows["lora"].train_seconds > 0


def test_weak_calibrations_are_warned_of_once_a_row(finished_study: tuple[Study, Path]) -> None:
    """The fit split has about 12 questions; UQ4CT alone has routers."""
    said = (finished_study[1] / "said.txt").read_text()
    assert said.count("warning: calibration temperature is weak: it is fitted on ") == len(METHODS)
    assert said.count("warning: calibration feu_temperature is weak: it is fitted on ") == 1


def test_predictions_give_the_scores_of_their_row(finished_study: tuple[Study, Path]) -> None:
    folder = finished_study[1]
    for item in finished_rows(folder)["mc_dropout"].scored:
        questions, answers = read_predictions(folder / item.predictions)
        assert compute_scores(score_answers(answers, questions)) == item.scores
        assert item.scores.auroc_epistemic is not None


def test_a_run_that_two_methods_need_is_trained_once(finished_study: tuple[Study, Path]) -> None:
    """LoRA, MC dropout and the first member share one run; the second member and UQ4CT have their own."""
    runs = sorted(path.name.rpartition("-")[0] for path in (finished_study[1] / RUNS_FOLDER).iterdir())
    assert runs == ["ensemble", "lora", "lora", "mc_dropout", "uq4ct"]
    assert not list(finished_study[1].rglob("checkpoint*"))


def test_a_finished_study_runs_nothing_again(finished_study: tuple[Study, Path], quiet: Console) -> None:
    study, folder = finished_study
    before = (folder / ROWS_FILE).read_bytes()
    assert run_study(study, folder, quiet) == []
    assert (folder / ROWS_FILE).read_bytes() == before


def test_the_report_of_a_real_study(finished_study: tuple[Study, Path]) -> None:
    study, folder = finished_study
    document = build_report(read_results(study, folder))
    headings = [block.text for block in document if isinstance(block, Heading)]
    assert headings == ["Study tiny", "Data set colours", "colours, test split", "colours to far (shift)", "Cost"]
    tables = [block.title for block in document if isinstance(block, TableBlock)]
    assert tables.count("Differences to lora + temperature, on the same questions") == 2


@pytest.mark.slow
def test_a_failure_is_a_row_and_ends_nothing(
    write_tiny_study: Callable[..., Path], tmp_path: Path, quiet: Console
) -> None:
    """A failed method is recorded and retried, finished ones are not; a corrected recipe gives a new row."""
    lora = METHODS["lora"]
    path = write_tiny_study(tmp_path / "a.yaml", methods={"broken": BROKEN, "lora": lora})
    (failed,) = run_study(load_study(path), tmp_path, quiet)
    assert failed.label == "broken"
    assert "lower learning rate" in failed.message
    assert len(run_study(load_study(path), tmp_path, quiet)) == 1
    assert [row.label for row in RowFile(tmp_path).read()] == ["broken", "lora", "broken"]
    mended = write_tiny_study(tmp_path / "b.yaml", methods={"broken": lora, "lora": lora})
    assert run_study(load_study(mended), tmp_path, quiet) == []
    rows = RowFile(tmp_path).read()
    assert [row.label for row in rows if isinstance(row, FinishedRow)] == ["lora", "broken"]
    assert sum(isinstance(row, FailedRow) for row in rows) == 2
    assert not read_results(load_study(mended), tmp_path).failed


def test_only_the_chosen_methods_run(write_tiny_study: Callable[..., Path], tmp_path: Path, quiet: Console) -> None:
    study = load_study(write_tiny_study(tmp_path / "a.yaml"))
    assert run_study(study, tmp_path, quiet, only=("lora",)) == []
    assert list(finished_rows(tmp_path)) == ["lora"]
    assert [key.label for key in read_results(study, tmp_path).missing] == ["mc_dropout", "ensemble", "uq4ct"]


@pytest.mark.slow
def test_the_command_goes_on_after_a_kill(write_tiny_study: Callable[..., Path], tmp_path: Path) -> None:
    """After kill -9 at the first row, the second start repeats no row and writes the report."""
    command = [sys.executable, "-m", "uq4ct", "study", "--recipe", str(write_tiny_study(tmp_path / "a.yaml"))]
    command += ["--output", str(tmp_path / "out")]
    process = subprocess.Popen(command, start_new_session=True)
    rows = tmp_path / "out" / ROWS_FILE
    deadline = time.monotonic() + 120
    while not (rows.is_file() and b"\n" in rows.read_bytes()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = rows.read_bytes()[: rows.read_bytes().rfind(b"\n") + 1]
    subprocess.run(command, check=True, timeout=300)
    assert rows.read_bytes().startswith(kept)
    assert [row.label for row in RowFile(tmp_path / "out").read()] == list(METHODS)
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_the_command_names_what_failed(write_tiny_study: Callable[..., Path], tmp_path: Path) -> None:
    recipe = write_tiny_study(tmp_path / "a.yaml", methods={"lora": METHODS["lora"], "broken": BROKEN})
    command = [sys.executable, "-m", "uq4ct", "study", "--recipe", str(recipe), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "1 rows failed: broken on colours, seed 0 (DivergedError" in done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
