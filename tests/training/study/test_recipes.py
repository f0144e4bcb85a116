"""Every shipped study recipe is valid, and those of the papers have the papers' numbers."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from uq4ct.training.study.config import load_study

RECIPES = sorted(Path(str(resources.files("uq4ct.training.recipes"))).glob("study_*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_studies_bind_to_runs(path: Path) -> None:
    study = load_study(path)
    assert len({cell.digest for cell in study.cells}) == len(study.cells)
    assert any(cell.key.label == study.config.baseline for cell in study.cells)


@pytest.mark.parametrize("table", [3, 4, 6])
def test_the_sweeps_differ_in_one_number_alone(table: int) -> None:
    (path,) = [path for path in RECIPES if path.stem == f"study_paper_table{table}"]
    cells = [cell for cell in load_study(path).cells if cell.key.data_set == "openbookqa" and cell.key.seed == 0]
    swept = {
        3: lambda config: config.loss.calibration_ramp_steps,
        4: lambda config: config.loss.calibration,
        6: lambda config: config.adapter.top_k,
    }[table]
    expected = {3: [0, 50], 4: [0, 0.2, 0.5, 0.8, 1], 6: [1, 2, 3, 4, 5]}[table]
    assert [swept(cell.config) for cell in cells] == expected
    for cell in cells:
        adapter, optimizer = cell.config.adapter, cell.config.optimizer
        assert (adapter.experts, adapter.rank, adapter.alpha, adapter.dropout) == (8, 16, 32, 0.05)
        assert (optimizer.learning_rate, cell.config.training.batch_questions) == (2e-4, 16)


def test_ensembles_of_different_sizes_share_their_members() -> None:
    (path,) = [path for path in RECIPES if path.stem == "study_lora_ensembles"]
    configs = {cell.key.label: cell.config for cell in load_study(path).cells}
    members = {
        label: {run.training_digest() for run in config.needed_runs()} or {config.training_digest()}
        for label, config in configs.items()
    }
    assert [len(members[f"m{size}-epoch-6"]) for size in (1, 5, 10, 20)] == [1, 5, 10, 20]
    assert members["m1-epoch-6"] < members["m5-epoch-6"] < members["m10-epoch-6"] < members["m20-epoch-6"]
    assert not members["m5-epoch-1"] & members["m5-epoch-6"]
