"""Train a run from its configuration into its folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from uq4ct.model_store.adapters.context import BankCall
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import score_batch, score_in_batches
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.proper_scores import negative_log_likelihood
from uq4ct.training.console import say
from uq4ct.training.data.answers import right_options
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import Finished, TrainedMethod
from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.fit import fit_method, match_given_runs
from uq4ct.training.runs.folder import NEEDED_FOLDER, claim_folder, locked
from uq4ct.training.runs.inputs import RunInputs, load_inputs, make_result, prepare_steps
from uq4ct.training.runs.loop import KEPT_FILE, Trainer
from uq4ct.training.runs.records import (
    ADAPTER_FILE,
    RESULT_FILE,
    RunError,
    RunResult,
    is_finished,
    read_record,
    write_record,
)
from uq4ct.training.runs.resume_point import RESUME_FILE, read_tensors, save_tensors


def train_run(
    config: RunConfig,
    folder: Path,
    console: Console,
    *,
    resume: bool = False,
    on: Sequence[Path] = (),
    shared: Path | None = None,
) -> RunResult:
    """Train as configured and write config, step log, weights and result to `folder`.

    The runs that a method is fitted on are taken from the folders `on`; others are looked up in `shared`, by default in
    the folder itself, and trained there if they are not finished.

    Raises:
        RunError: the folder holds another run, this run without `resume`, or one that another process trains; a run in
            `on` is not needed; or an adopted run has no weights.
        ConfigError, DataError, QuestionFileError, BaseModelError, DivergedError: the configuration, the data or the
            base model cannot be used, or the loss is not finite.
    """
    method = METHODS[config.method]
    if config.adopted is not None and isinstance(method, TrainedMethod) and not is_finished(folder):
        raise RunError("an adopted run cannot be trained: make it with `adopt`")
    if is_finished(folder):
        claim_folder(folder, config, resume=resume)
        return read_record(folder / RESULT_FILE, RunResult)
    with locked(folder):
        claim_folder(folder, config, resume=resume)
        given = match_given_runs(config, on)
        pool = shared or folder / NEEDED_FOLDER
        needs = config.needed_runs()
        needed = [given.get(need.training_digest()) or train_in_pool(need, pool, console) for need in needs]
        inputs = load_inputs(config, folder, console)
        if isinstance(method, TrainedMethod):
            result, finished = _train_by_steps(inputs, method)
        else:
            result, finished = fit_method(inputs, method, needed)
        save_tensors(folder / ADAPTER_FILE, finished.tensors)
        write_record(folder / RESULT_FILE, result)
        return result


def train_in_pool(config: RunConfig, pool: Path, console: Console) -> Path:
    """Return the folder of a run in a pool, training it if it is not finished; the runs that it needs share the pool.

    A finished run is never continued, so its resume point, three times the size of its weights, is deleted.

    Raises:
        ConfigError, DataError, QuestionFileError, BaseModelError, DivergedError: as `train_run`.
    """
    folder = pool / f"{config.method}-{config.training_digest()[:16]}"
    say(console, f"{config.method} with seed {config.training.seed}: {folder}")
    train_run(config.model_copy(update={"name": config.method}), folder, console, resume=True, shared=pool)
    (folder / RESUME_FILE).unlink(missing_ok=True)
    return folder


def _train_by_steps(inputs: RunInputs, method: TrainedMethod) -> tuple[RunResult, Finished]:
    config, folder, model = inputs.config, inputs.folder, inputs.model
    variation = prepare_steps(inputs, method)
    trainer = Trainer(config, method, model, variation, inputs.train, lambda: _fit_nll(inputs, variation), folder)
    parameters = sum(parameter.numel() for parameter in trainer.parameters.values())
    say(
        inputs.console,
        f"{len(inputs.train)} training questions, {trainer.steps} steps, {parameters:,} trained parameters, "
        f"{inputs.base.identity.name} in {inputs.base.dtype_name} on {model.device}",
    )
    say(inputs.console, f"{inputs.base.identity.name} {inputs.base.reading.describe()}")
    state = trainer.run(inputs.console)
    started = time.perf_counter()
    finished = method.finish(read_tensors(folder / KEPT_FILE), config.method_options(), config.training.seed)
    return make_result(inputs, finished, state, parameters, time.perf_counter() - started), finished


def _fit_nll(inputs: RunInputs, through: BankCall | None) -> float:
    """Return the NLL on the fit split in nats per question, of the weights or of their mean."""
    posterior = PointPosterior(through)
    samples = score_in_batches(
        lambda batch: score_batch(inputs.model, posterior, batch),
        inputs.fit.encoded,
        inputs.config.training.evaluation_batch_tokens,
    )
    probabilities = mean_probabilities(samples.logits)
    return negative_log_likelihood(probabilities, right_options(inputs.splits.fit)).mean().item()
