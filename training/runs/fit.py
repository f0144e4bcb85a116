"""Methods without gradient steps of their own, fitted on finished runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from uq4ct.training.methods.base import Finished, Fitting, PostHocMethod
from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.inputs import RunInputs, make_result
from uq4ct.training.runs.loop import snapshot_path
from uq4ct.training.runs.records import ADAPTER_FILE, RunError, RunResult, read_run
from uq4ct.training.runs.resume_point import LoopState, read_tensors


def match_given_runs(config: RunConfig, folders: Sequence[Path]) -> dict[str, Path]:
    """Map the training digests of needed runs to the folders that contain them.

    Raises:
        RunError: a folder holds no finished run, or one that is not needed; the message names the fields in which it
            differs from the most similar needed run.
    """
    needed = config.needed_runs()
    digests = {need.training_digest() for need in needed}
    matched: dict[str, Path] = {}
    for folder in folders:
        given, _ = read_run(folder)
        digest = given.training_digest()
        if digest not in digests:
            raise RunError(f"{folder} was not trained as {config.method} requires: {_differences(given, needed)}")
        matched[digest] = folder
    return matched


def fit_method(inputs: RunInputs, method: PostHocMethod, needed: Sequence[Path]) -> tuple[RunResult, Finished]:
    """Fit a method on the finished runs in the folders `needed`, in the order of its needs.

    Raises:
        RunError: a run was trained on different questions or on a different base model.
    """
    config = inputs.config
    results = [_result_on_same(folder, inputs) for folder in needed]
    weights = [read_tensors(folder / ADAPTER_FILE) for folder in needed]
    inputs.model.load_adapter_tensors(weights[0])
    inputs.model.eval()
    fitting = Fitting(
        model=inputs.model,
        weights=weights,
        snapshots=[read_tensors(snapshot_path(needed[0], index + 1)) for index in range(config.training.snapshots)],
        train=inputs.train,
        fit=inputs.fit,
        batch_tokens=config.training.evaluation_batch_tokens,
        seed=config.training.seed,
        console=inputs.console,
    )
    started = time.perf_counter()
    finished = method.fit(fitting, config.method_options())
    seconds = time.perf_counter() - started
    total = LoopState(
        step=sum(result.steps for result in results),
        seconds=sum(result.seconds for result in results),
        tokens=sum(result.tokens for result in results),
        fit_nll=results[0].fit_nll,
    )
    parameters = sum(result.trained_parameters for result in results)
    return make_result(inputs, finished, total, parameters, seconds), finished


def _result_on_same(folder: Path, inputs: RunInputs) -> RunResult:
    """Return the record of a needed run, after checking that its questions and base model are those of this run."""
    _, result = read_run(folder)
    for what, theirs, ours in (
        ("data", result.data_digest, inputs.splits.digest),
        ("base model", result.base.digest, inputs.base.identity.digest),
    ):
        if theirs != ours:
            raise RunError(f"{folder} was trained with different {what}: {theirs} then, {ours} now; train it again")
    return result


def _differences(given: RunConfig, needed: Sequence[RunConfig]) -> str:
    """Describe, field by field, how a run differs from the most similar one of `needed`."""
    ours = _fields(given)

    def unlike(need: RunConfig) -> list[str]:
        theirs = _fields(need)
        names = (name for name in ours | theirs if ours.get(name) != theirs.get(name))
        return [f"{name} is {ours.get(name)!r}, not {theirs.get(name)!r}" for name in names]

    return "; ".join(min(map(unlike, needed), key=len, default=["it is not fitted on other runs"]))


def _fields(config: RunConfig) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in config.training_record().items():
        flat |= {f"{name}.{field}": item for field, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat
