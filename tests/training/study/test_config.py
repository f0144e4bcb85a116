"""Study recipes: cells are merged in order, and errors name what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from uq4ct.training.run_config import ConfigError
from uq4ct.training.study.config import Study, load_study, merge_sections, select_cells

SECTIONS: dict[str, Any] = {
    "name": "small",
    "adapter": {"rank": 4, "dropout": 0.1},
    "loss": {"calibration": 0},
    "seeds": [0, 7],
    "baseline": "lora",
    "data_sets": {
        "quiz": {"data": {"source": "facts", "train_limit": 8}},
        "other": {
            "data": {"source": "facts", "seed": 1},
            "methods": ["lora"],
            "adapter": {"dropout": 0.2},
            "optimizer": {"learning_rate": 5e-4},
        },
    },
    "methods": {
        "lora": {"method": "lora", "adapter": {"experts": 1, "top_k": 1, "rank": 8}},
        "beta-1": {"method": "uq4ct", "loss": {"calibration": 1.0}},
    },
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the recipe of the small study, with the given top-level fields replaced."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(SECTIONS | changes, sort_keys=False))
        return path

    return write


def cell_of(study: Study, data_set: str, label: str, seed: int = 0) -> Any:
    return next(cell for cell in study.cells if cell.key == (data_set, label, seed))


def test_cells_are_data_sets_by_seeds_by_methods(write: Write) -> None:
    keys = [tuple(cell.key) for cell in load_study(write()).cells]
    assert keys == [
        ("quiz", "lora", 0),
        ("quiz", "beta-1", 0),
        ("quiz", "lora", 7),
        ("quiz", "beta-1", 7),
        ("other", "lora", 0),
        ("other", "lora", 7),
    ]


def test_a_data_set_goes_before_the_study_and_a_method_before_both(write: Write) -> None:
    study = load_study(write())
    plain, other = cell_of(study, "quiz", "lora", 7).config, cell_of(study, "other", "lora").config
    assert (plain.adapter.rank, plain.adapter.dropout, plain.training.seed) == (8, 0.1, 7)
    assert (other.adapter.rank, other.adapter.dropout, other.optimizer.learning_rate) == (8, 0.2, 5e-4)
    assert cell_of(study, "quiz", "beta-1").config.loss.calibration == 1.0
    assert plain.data.train_limit == 8


def test_merging_changes_no_input_and_replaces_lists() -> None:
    general = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge_sections(general, {"a": {"c": [3]}, "e": {"f": 1}}) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": {"f": 1}}
    assert general == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_the_digest_is_of_everything_that_decides_a_row_and_nothing_else(write: Write) -> None:
    digest = cell_of(load_study(write()), "quiz", "lora").digest
    assert cell_of(load_study(write(name="renamed", seeds=[0])), "quiz", "lora").digest == digest
    assert cell_of(load_study(write(calibrations=["none"])), "quiz", "lora").digest != digest
    assert cell_of(load_study(write(adapter={"rank": 4})), "quiz", "lora").digest != digest
    digests = {cell.digest for cell in load_study(write()).cells}
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seeds": [1, 1]}, "seeds"),
        ({"baseline": "nobody"}, "baseline 'nobody'"),
        ({"calibrations": ["temperature"]}, "baseline_calibration 'none'"),
        ({"calibrations": ["magic"]}, "calibrations.0"),
        ({"colour": "red"}, "colour"),
        ({"data_sets": {"quiz": {"data": {"source": "facts"}, "methods": ["x"]}}}, r"data_sets.quiz.methods: 'x'"),
        ({"data_sets": {"quiz": {"data": {"source": "nowhere"}}}}, r"study.yaml: lora on quiz: .*nowhere"),
        ({"adapter": {"rnk": 4}}, r"study.yaml: lora on quiz: adapter.rnk"),
        ({"methods": {"lora": {"method": "lroa"}}}, r"study.yaml: lora on quiz: .*lroa"),
        ({"methods": {"Lo Ra": {"method": "lora"}}}, "methods"),
        ({"optimiser": {}}, "study.yaml: optimiser: unknown key, did you mean optimizer."),
        (
            {"methods": {"lora": {"method": "lora", "optimiser": {}}}},
            "study.yaml: methods.lora.optimiser: unknown key, did you mean optimizer.",
        ),
        (
            {"optimizer": {"lerning_rate": 1}},
            "study.yaml: lora on quiz: optimizer.lerning_rate: unknown key .got 1., did you mean learning_rate.",
        ),
        (
            {"data_sets": {"quiz": {"data": {"source": "facts", "sead": 1}}}},
            "study.yaml: lora on quiz: data.sead: unknown key .got 1., did you mean seed.",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_label(changes: dict[str, Any], named: str, write: Write) -> None:
    with pytest.raises(ConfigError, match=named):
        load_study(write(**changes))


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    for text in ("- a", "a: [", ""):
        (tmp_path / "study.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"study\.yaml"):
            load_study(tmp_path / "study.yaml")
    with pytest.raises(ConfigError, match="no_such"):
        load_study(tmp_path / "no_such.yaml")


def test_single_methods_can_be_chosen(write: Write) -> None:
    study = load_study(write())
    assert {cell.key.label for cell in select_cells(study, ("beta-1",))} == {"beta-1"}
    assert select_cells(study, ()) == study.cells
    with pytest.raises(ConfigError, match="no method 'gamma'"):
        select_cells(study, ("gamma",))
