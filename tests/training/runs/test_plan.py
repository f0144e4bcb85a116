"""`uq4ct plan`: what a run needs, and what to change if it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from tests.benchmarks.planned_memory import CONFIGURATIONS, measured_peak, planned_peak
from tests.command_line import uq4ct
from tests.training.conftest import MakeConfig
from uq4ct.training.run_config import ConfigError
from uq4ct.training.runs import plan as planning
from uq4ct.training.runs.plan import Plan, WorkPlan, plan_run
from uq4ct.training.runs.plan_report import describe_plan
from uq4ct.training.runs.train import train_run

GB = 10**9
STEP = WorkPlan(tokens=1000, peak=9 * GB, fixed_seconds=0.5, token_seconds=0.01)
PLAN = Plan(
    base_parameters=10**9,
    trained_parameters=10**6,
    weights=4 * GB,
    adapter=1 * GB,
    before=5 * GB,
    loading=6 * GB,
    step=STEP,
    evaluation=WorkPlan(tokens=2000, peak=7 * GB, fixed_seconds=0.0, token_seconds=0.004),
    saving=8 * GB,
    available=10 * GB,
    questions=100,
    steps=10,
    tokens=4000,
    seconds=60.0,
)


def test_two_parts_are_extended_on_a_line() -> None:
    """By hand: 3 MB and 0.1 s a token, beside 200 MB and 2 s."""
    work = planning._line([(100, 500, 12.0), (200, 800, 22.0)], 400, beside=50)
    assert work.peak == 800 + 3 * 200 + 50
    assert (work.fixed_seconds, work.token_seconds) == pytest.approx((2.0, 0.1))
    assert work.seconds(pieces=3, tokens=1000) == pytest.approx(106.0)


def test_noise_gives_no_negative_rates_or_peaks() -> None:
    faster = planning._line([(100, 900, 12.0), (200, 800, 10.0)], 400, beside=0)
    assert (faster.peak, faster.fixed_seconds, faster.token_seconds) == (900, 0.0, 0.05)
    steeper = planning._line([(100, 1, 1.0), (200, 1, 5.0)], 400, beside=0)
    assert (steeper.fixed_seconds, steeper.token_seconds) == (0.0, 0.025)
    assert planning._line([(100, 900, 12.0)], 100, beside=7) == WorkPlan(100, 907, 0.0, 0.12)


@pytest.mark.parametrize(
    "training",
    [{}, {"accumulation": 4}, {"forward_tokens": 30}, {"checkpointing": True}, {"batch_questions": 1}],
    ids=str,
)
def test_a_plan_counts_what_the_run_counts(
    training: dict[str, Any], make_config: MakeConfig, quiet: Console, tmp_path: Path
) -> None:
    config = make_config(training={"epochs": 2, **training})
    plan = plan_run(config, quiet)
    result = train_run(config, tmp_path / "run", quiet)
    assert (plan.steps, plan.tokens, plan.questions) == (result.steps, result.tokens, result.train)
    assert plan.trained_parameters == result.trained_parameters
    assert plan.adapter == 4 * 4 * plan.trained_parameters
    assert plan.weights == 4 * plan.base_parameters
    assert plan.weights < plan.before <= plan.loading
    assert plan.fits
    assert 0 < plan.seconds < 600


def test_the_largest_forward_has_the_longest_question_first(
    make_config: MakeConfig, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def note(trainer: Any, questions: Any, step: int) -> list[Any]:
        seen.append([question.encoded.length for question in questions])
        return take(trainer, questions, step)

    take = planning.Trainer.take_step
    monkeypatch.setattr(planning.Trainer, "take_step", note)
    plan_run(make_config(training={"batch_questions": 8, "accumulation": 2}), quiet)
    first, quarter, half = seen
    assert len(first) == len(quarter) == 1
    assert len(half) == 2  # of the four questions of one of two forwards
    assert first == quarter
    assert half[0] == quarter[0] >= half[1]


@pytest.mark.parametrize("method", ["blob", "sparse_lora"])
def test_methods_with_noise_have_a_plan(method: str, make_config: MakeConfig, quiet: Console) -> None:
    assert plan_run(make_config(method), quiet).fits


def test_a_fitted_method_names_the_method_to_plan(make_config: MakeConfig, quiet: Console) -> None:
    with pytest.raises(ConfigError, match="method laplace is fitted on finished runs: plan a recipe with method lora"):
        plan_run(make_config("laplace"), quiet)


def test_weights_that_do_not_fit_are_not_loaded(
    make_config: MakeConfig, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "available_memory", lambda _: 1000)
    monkeypatch.setattr(planning, "load_inputs", None)  # called = TypeError
    with pytest.raises(ConfigError, match=r"take 0\.00 GB in float32, and 0\.00 GB are available: .* base.dtype bfl"):
        plan_run(make_config(), quiet)


def test_the_report_has_every_part(make_config: MakeConfig) -> None:
    lines = list(describe_plan(PLAN, make_config()))
    assert lines == [
        "1,000,000,000 frozen and 1,000,000 trained parameters; 100 training questions, 10 steps, 4,000 tokens in "
        "2 epochs",
        "memory: 4.00 GB weights of the base model; 1.00 GB adapter with gradients and optimizer; 5.00 GB in use "
        "before the first step",
        "peak: 6.00 GB while loading, 9.00 GB in a training forward of 1,000 tokens, 7.00 GB in an evaluation forward "
        "of 2,000 tokens, 8.00 GB while a resume point is written; 10.00 GB available",
        "time: about 0:01:00 at 89 training tokens/s, without loading and without the evaluation after training",
        "fits: 90% of the available memory",
    ]


def test_what_does_not_fit_says_what_to_change(make_config: MakeConfig) -> None:
    """By hand: 3 MB a training token beside 6 GB; nine tenths of 8 GB leave 1.2 GB, which is 400 tokens."""
    tight = replace(PLAN, available=8 * GB)
    assert list(describe_plan(tight, make_config()))[-1] == (
        "does not fit: 1.00 GB too much; set training.checkpointing to true; or set training.forward_tokens to 400; or "
        "set base.dtype to bfloat16; or use a smaller base model or adapter.rank"
    )
    checkpointing = make_config(training={"checkpointing": True}, base={"dtype": "bfloat16"})
    none_left = replace(PLAN, available=6 * GB)
    assert list(describe_plan(none_left, checkpointing))[-1] == (
        "does not fit: 3.00 GB too much; use a smaller base model or adapter.rank"
    )
    wide = replace(PLAN, evaluation=replace(STEP, tokens=4000), step=replace(STEP, peak=7 * GB), available=8 * GB)
    assert "set training.evaluation_batch_tokens to 1,600" in list(describe_plan(wide, checkpointing))[-1]


def test_the_verb_exits_with_1_if_the_run_does_not_fit(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(make_config().model_dump(mode="json", exclude={"adopted"})))
    done = uq4ct(["plan", str(recipe)])
    assert done.exit_code == 0, done.output
    assert "of the available memory" in done.output
    monkeypatch.setattr(planning, "_check_weights", lambda _: None)
    monkeypatch.setattr(planning, "available_memory", lambda _: 1000)
    done = uq4ct(["plan", str(recipe)])
    assert done.exit_code == 1
    assert "does not fit: " in done.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["checkpointing", "4 forwards a step"])
def test_the_planned_peak_is_within_a_tenth_of_the_measured_one(name: str) -> None:
    settings = CONFIGURATIONS[name]
    assert planned_peak(settings) == pytest.approx(measured_peak(settings), rel=0.1)
