"""The lines of `uq4ct plan`: the size of a run, its memory by part, its time, and what to change if it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.plan import Plan


def describe_plan(plan: Plan, config: RunConfig) -> Iterator[str]:
    """Yield the lines of a plan."""
    yield (
        f"{plan.base_parameters:,} frozen and {plan.trained_parameters:,} trained parameters; "
        f"{plan.questions:,} training questions, {plan.steps:,} steps, {plan.tokens:,} tokens in "
        f"{config.training.epochs} {'epoch' if config.training.epochs == 1 else 'epochs'}"
    )
    yield (
        f"memory: {_size(plan.weights)} weights of the base model; {_size(plan.adapter)} adapter with gradients and "
        f"optimizer; {_size(plan.before)} in use before the first step"
    )
    yield f"peak: {', '.join(_peaks(plan))}; {_size(plan.available)} available"
    yield (
        f"time: about {timedelta(seconds=round(plan.seconds))} at {plan.tokens_per_second:.0f} training tokens/s, "
        "without loading and without the evaluation after training"
    )
    if plan.fits:
        yield f"fits: {plan.peak / plan.available:.0%} of the available memory"
    else:
        yield f"does not fit: {_size(plan.peak - plan.available)} too much; {'; or '.join(_changes(plan, config))}"


def _peaks(plan: Plan) -> Iterator[str]:
    yield f"{_size(plan.loading)} while loading"
    yield f"{_size(plan.step.peak)} in a training forward of {plan.step.tokens:,} tokens"
    yield f"{_size(plan.evaluation.peak)} in an evaluation forward of {plan.evaluation.tokens:,} tokens"
    yield f"{_size(plan.saving)} while a resume point is written"


def _changes(plan: Plan, config: RunConfig) -> Iterator[str]:
    """Yield what would lessen the peaks that are too high."""
    training = config.training
    if plan.step.peak > plan.available:
        if not training.checkpointing:
            yield "set training.checkpointing to true"
        tokens = plan.fitting_tokens(plan.step)
        if tokens:
            yield f"set training.forward_tokens to {tokens:,}"
    if plan.evaluation.peak > plan.available:
        tokens = plan.fitting_tokens(plan.evaluation)
        if tokens:
            yield f"set training.evaluation_batch_tokens to {tokens:,}"
    if config.base.dtype != "bfloat16":
        yield "set base.dtype to bfloat16"
    yield "use a smaller base model or adapter.rank"


def _size(memory: int) -> str:
    return f"{memory / 1e9:.2f} GB"
