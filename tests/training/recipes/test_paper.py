"""The recipes of the UQ4CT paper have the paper's numbers; each row quotes the sentence or table that it comes from."""

from __future__ import annotations

import re
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.readme.pages import TRAINING_PAGE
from uq4ct.training.methods import METHODS
from uq4ct.training.run_config import RunConfig, load_run_config, parse_run_config, read_recipe
from uq4ct.training.study.config import load_study, merge_sections

SHIPPED = Path(str(resources.files("uq4ct.training.recipes")))
SINGLE = ("paper_llama2_7b", "paper_mistral_7b")
STUDIES = tuple(f"study_paper_table{number}" for number in range(1, 7))

EVERY_RUN = [
    ("training.batch_questions", 16, "A.4: We use batch size of 16 to train our model."),
    ("optimizer.betas", (0.9, 0.999), "A.4: We use AdamW as our optimizer. (betas left open: PyTorch's)"),
    ("optimizer.clip_norm", None, "no sentence mentions clipping"),
    ("optimizer.decay", "none", "A.4: we use 2e-4 as our learning rate (one number, no schedule)"),
    ("optimizer.warmup_share", 0, "A.4: we use 2e-4 as our learning rate (one number, no schedule)"),
    ("training.keep_epoch", "last", "no sentence mentions a choice among epochs"),
    ("loss.load_balance", 0.01, "A.1: the constant term a is set to 10^-2"),
    ("loss.load_balance_form", "argmax", "equation 14: argmax_k R(x)_k = i"),
    ("loss.indicator", "training", "equation 10: 1{MixLoRA(x) = y*}"),
    ("loss.l2", 0, "equation 11: L = CE + alpha L_b + beta L_cal"),
    ("scoring.kind", "letter", "5.1: multiple-choice question answering benchmarks"),
    (
        "adapter.targets",
        ("all",),  # in layers of Llama and Mistral these seven
        "5.2: query, key, value and output layers, together with gate layer, down layer and up layer",
    ),
]
EXPERTS = [
    ("adapter.experts", 8, "A.4: total of 8 LoRA experts"),
    ("adapter.top_k", 2, "A.4: select 2 experts with the highest probability"),
    ("adapter.rank", 16, "A.4: For each expert, we use rank = 16"),
    ("adapter.alpha", 32, "A.4: alpha = 32"),
    ("adapter.mixing", "raw", "equation 7: the weights from the top-k router"),
    ("adapter.placement", "layer", "5.2: we apply MixLoRA to query, key, value and output layers"),
    ("adapter.feu_tokens", "prompt_and_options", "3.2: Given an input prompt x with length s"),
]
PLAIN = [
    ("adapter.experts", 1, "A.4: single LoRA based models"),
    ("adapter.rank", 80, "A.4: with LoRA ranks set to 80"),
]
COMMON_SENSE = [
    ("optimizer.learning_rate", 2e-4, "A.4: For other tasks, we use 2e-4 as our learning rate"),
    ("adapter.dropout", 0.05, "A.4: with dropout 0.05"),
    ("data.test", "validation", "5.1: test on the validation split"),
]
CLIMATE = [
    ("optimizer.learning_rate", 5e-4, "A.4: For climate task, we set the learning rate to 5e-4"),
    ("adapter.dropout", 0.1, "A.4: dropout rate to 0.1"),
]
UQ4CT = [
    ("loss.calibration", 1, "5.4.2: when beta = 1, the calibration term effectively optimizes"),
    ("loss.calibration_ramp_steps", 0, "5.4.1: the incremental loss has significantly worse ECE"),
]
OF_METHOD = {
    "lora": PLAIN,
    "mc_dropout": PLAIN,
    "ensemble": [*PLAIN, ("options.members", 3, "5.2: fine-tuning 3 randomly initialized LoRAs")],
    "laplace": [
        *PLAIN,
        ("options.prior_precision", "marglik", "A.4: we follow the Laplace hyperparameters in this Github Repository"),
        ("options.samples", 100_000, "A.4: the same; its laplace_predict is mc_corr_100000"),
    ],
    "mixlora": [*EXPERTS, ("loss.calibration", 0, "5.4.2: beta = 0 resembles the original MixLoRA method")],
    "uq4ct": [*EXPERTS, *UQ4CT],
    "uq4ct-incremental": [
        *EXPERTS,
        UQ4CT[0],
        ("loss.calibration_ramp_steps", 50, "equation 12: grad_step / 50"),
    ],
    **{
        f"beta-{beta}": [
            *EXPERTS,
            ("loss.calibration", beta, "5.4.2: beta values of 0, 0.2, 0.5, 0.8 and 1"),
        ]
        for beta in (0, 0.2, 0.5, 0.8, 1)
    },
    **{
        f"top-{top_k}": [
            *(row for row in EXPERTS if row[0] != "adapter.top_k"),
            ("adapter.top_k", top_k, "A.3: with 1 to 5 active experts with 8 in total"),
            *UQ4CT,
        ]
        for top_k in range(1, 6)
    },
}
FIVE_TASKS = ["boolq", "arc_easy", "arc_challenge", "openbookqa", "climate_ipccconf"]
SIX_METHODS = ["lora", "mc_dropout", "ensemble", "laplace", "mixlora", "uq4ct"]
LLAMA, MISTRAL = "meta-llama/Llama-2-7b-hf", "mistralai/Mistral-7B-v0.1"
TABLES = {
    "study_paper_table1": (LLAMA, FIVE_TASKS, SIX_METHODS),
    "study_paper_table2": (LLAMA, ["openbookqa"], SIX_METHODS),
    "study_paper_table3": (LLAMA, FIVE_TASKS, ["uq4ct", "uq4ct-incremental"]),
    "study_paper_table4": (LLAMA, ["openbookqa"], ["beta-0", "beta-0.2", "beta-0.5", "beta-0.8", "beta-1"]),
    "study_paper_table5": (MISTRAL, FIVE_TASKS, SIX_METHODS),
    "study_paper_table6": (LLAMA, ["openbookqa"], ["top-1", "top-2", "top-3", "top-4", "top-5"]),
}


def check(config: RunConfig, rows: list[tuple[str, Any, str]], where: str) -> None:
    """Compare the fields of a run with what the paper says."""
    for path, expected, sentence in rows:
        found = reduce(_part, path.split("."), config)
        assert found == expected, f"{where}: {path} is {found!r}, the paper: {expected!r} ({sentence})"


def _part(section: Any, name: str) -> Any:
    return section[name] if isinstance(section, dict) else getattr(section, name)


@pytest.mark.parametrize(("name", "base"), [(SINGLE[0], LLAMA), (SINGLE[1], MISTRAL)])
def test_the_recipes_have_the_papers_numbers(name: str, base: str) -> None:
    config = load_run_config(SHIPPED / f"{name}.yaml")
    own = [
        ("method", "uq4ct", "title"),
        ("base.name", base, "5.2: LLaMA-2-7B-hf; A.2: Mistral-7B"),
        ("calibration", "none", "5.3.1: uncertainty calibration happens during the fine-tuning stage"),
    ]
    check(config, [*own, *EVERY_RUN, *EXPERTS, *COMMON_SENSE, *UQ4CT], name)


@pytest.mark.parametrize("name", STUDIES)
def test_every_run_of_the_studies_has_the_papers_numbers(name: str) -> None:
    base, data_sets, methods = TABLES[name]
    study = load_study(SHIPPED / f"{name}.yaml")
    assert len(study.config.seeds) == 3, "5.1: the average model performance over 3 random runs"
    assert "none" in study.config.calibrations, "5.3.1: uncertainty calibration happens during the fine-tuning stage"
    assert (list(study.config.data_sets), list(study.config.methods)) == (data_sets, methods)
    for cell in study.cells:
        task = CLIMATE if cell.key.data_set == "climate_ipccconf" else COMMON_SENSE
        own = [("base.name", base, f"caption of table {name[-1]}")]
        check(cell.config, [*own, *EVERY_RUN, *task, *OF_METHOD[cell.key.label]], f"{name}: {cell.key}")


def test_the_shift_sets_are_those_of_table_2() -> None:
    config = load_study(SHIPPED / "study_paper_table2.yaml").cells[0].config
    assert [(shifted.dataset, shifted.test) for shifted in config.data.shift] == [  # type: ignore[union-attr]
        ("arc_challenge", "validation"),
        ("arc_easy", "validation"),
        ("mmlu_cs", None),
        ("mmlu_eng", None),
        ("mmlu_law", None),
        ("mmlu_health", None),
    ]


@pytest.mark.parametrize("name", [*SINGLE, *STUDIES])
def test_the_header_lists_what_the_paper_leaves_open(name: str) -> None:
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    header = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    for part in (
        "leaves open: the number of epochs",
        "schedule",
        "weight decay",
        "prompt",
        "dtype",
        "training/README.md",
    ):
        assert part in header


def test_the_settings_of_what_differs_are_settings() -> None:
    """Code spans of the last column: `field: value` or `section.field`, or the name of a recipe."""
    rows = TRAINING_PAGE.table("where", "the paper")
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row[-1])]
    recipe = read_recipe(SHIPPED / "paper_llama2_7b.yaml")
    assert len(spans) > 8
    for span in spans:
        setting = yaml.safe_load(span)
        if isinstance(setting, dict) and "options" in setting:
            METHODS["ensemble"].options.model_validate(setting["options"])
        elif isinstance(setting, dict):
            ((path, value),) = setting.items()
            changes = reduce(lambda inner, name: {name: inner}, reversed(path.split(".")), value)
            parse_run_config(merge_sections(recipe, changes), span)
        elif span == "options.samples":
            assert "samples" in METHODS["mc_dropout"].options.model_fields
        elif "." in span:
            reduce(_part, span.split("."), parse_run_config(recipe, span))
        else:
            assert span in ("test", *METHODS) or (SHIPPED / f"{span}.yaml").is_file()
