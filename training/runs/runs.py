"""A run from its configuration to its folder, and back from the folder to a model that answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.adapters.context import BankCall
from uq4ct.model_store.base.identity import BaseIdentity, DtypeName
from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors import PosteriorConfig, adapter_tensors
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import score_batch, score_in_batches
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.proper_scores import negative_log_likelihood
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.splits import Splits
from uq4ct.training.evaluation.scores import right_options
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import Finished, Fitting, PostHocMethod, TrainedMethod
from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.candidates import load_base_of, new_candidate
from uq4ct.training.runs.encoded_splits import check_lengths, encode_fit, encode_train
from uq4ct.training.runs.loop import KEPT_FILE, Trainer, snapshot_path
from uq4ct.training.runs.provenance import code_commit
from uq4ct.training.runs.resume_point import CHECKPOINT_FILE, Progress, save_tensors

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
ADAPTER_FILE = "adapter.safetensors"
NEEDED_FOLDER = "needed"


class RunError(UserError, RuntimeError):
    """A run folder that cannot be used as asked."""


class RunResult(Frozen):
    """What a finished run found out; steps, seconds, tokens and parameters include the runs that it was fitted on."""

    base: BaseIdentity
    dtype: DtypeName = Field(description="compute dtype of the frozen base")
    code_commit: str | None
    data_digest: str
    train: int = Field(description="questions trained on or held out for FEU")
    fit: int
    guarantee: int
    test: int
    steps: int
    seconds: float = Field(description="in training steps")
    fit_seconds: float = Field(description="in what followed the steps")
    tokens: int = Field(description="real tokens trained on")
    trained_parameters: int
    fit_nll: tuple[float, ...] = Field(description="NLL on the fit split after each epoch, nats per question")
    kept_epoch: int = Field(description="counted from 1; 0 where none was trained here")
    posterior: PosteriorConfig


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A finished run, ready to answer: `tensors` are what is stored, the adapter's and its posterior's."""

    config: RunConfig
    result: RunResult
    base: BaseModel
    model: AdaptedModel
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class _Workshop:
    """What the stages of one run share."""

    config: RunConfig
    folder: Path
    splits: Splits
    base: BaseModel
    model: AdaptedModel
    train: Sequence[TrainingQuestion]
    fit: Sequence[TrainingQuestion]
    console: Console


def train_run(
    config: RunConfig,
    folder: Path,
    console: Console,
    *,
    resume: bool = False,
    on: Sequence[Path] = (),
    shared: Path | None = None,
) -> RunResult:
    """Train as configured and leave config, step log, weights and result in `folder`.

    The runs that a method is fitted on are those in the folders `on`; others are looked up in `shared`, by default in
    the folder itself, and trained there if they are not finished.

    Raises:
        RunError: the folder holds another run, or this one and `resume` is not set; a run in `on` is not needed; or
            the weights are adopted ones and not there.
        ConfigError, DataError, BaseModelError, DivergedError: as their rooms say.
    """
    method = METHODS[config.method]
    if config.adopted is not None and isinstance(method, TrainedMethod) and not (folder / RESULT_FILE).is_file():
        raise RunError("an adopted run is made by `adopt`, not trained")
    _claim(folder, config, resume)
    if (folder / RESULT_FILE).is_file():
        return RunResult.model_validate_json((folder / RESULT_FILE).read_text())
    given = _given_runs(config, on)
    pool = shared or folder / NEEDED_FOLDER
    needed = [given.get(need.training_digest()) or train_in_pool(need, pool, console) for need in config.needed_runs()]
    workshop = _open(config, folder, console)
    if isinstance(method, TrainedMethod):
        result, finished = _train(workshop, method)
    else:
        result, finished = _fit(workshop, method, needed)
    save_tensors(folder / ADAPTER_FILE, finished.tensors)
    write_record(folder / RESULT_FILE, result)
    return result


def train_in_pool(config: RunConfig, pool: Path, console: Console) -> Path:
    """The folder of a run in a pool of runs, trained to its end if it is not yet; what it needs is in the pool too.

    A finished run is not continued, so its resume point, three times the size of its weights, is not kept.

    Raises:
        ConfigError, DataError, BaseModelError, DivergedError: as their rooms say.
    """
    folder = pool / f"{config.method}-{config.training_digest()[:16]}"
    console.print(f"{config.method} with seed {config.training.seed}: {folder}", highlight=False, soft_wrap=True)
    train_run(config.model_copy(update={"name": config.method}), folder, console, resume=True, shared=pool)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return folder


def load_run(folder: Path, *, device: str | None = None, dtype: str | None = None) -> TrainedRun:
    """Read a finished run back; by default on its configuration's device and in the dtype that it was trained in.

    Raises:
        RunError: the folder holds no finished run, or the base model is not the one it was trained on.
    """
    config, result = read_run(folder)
    base = load_base_of(config, device=device, dtype=dtype or result.dtype)
    if base.identity.digest != result.base.digest:
        raise RunError(f"{folder} was trained on {result.base.digest}, the base model here is {base.identity.digest}")
    model = new_candidate(config, base)
    tensors = load_file(folder / ADAPTER_FILE)
    model.load_adapter_tensors(adapter_tensors(tensors))
    return TrainedRun(config, result, base, model, tensors)


def read_run(folder: Path) -> tuple[RunConfig, RunResult]:
    """The records of a finished run.

    Raises:
        RunError: the folder holds none.
    """
    if not (folder / RESULT_FILE).is_file():
        raise RunError(f"{folder} holds no finished run (no {RESULT_FILE})")
    config = RunConfig.model_validate_json((folder / CONFIG_FILE).read_text())
    return config, RunResult.model_validate_json((folder / RESULT_FILE).read_text())


def write_record(path: Path, record: Frozen) -> None:
    """Write a run's record whole or not at all: that it is there says that its stage is done."""
    replace_file(path, record.model_dump_json(indent=2).encode())


def load_run_splits(run: TrainedRun) -> Splits:
    """The splits of a run.

    Raises:
        RunError: the data are not those that it was trained on.
    """
    return load_same_splits(run.config, run.result.data_digest)


def load_same_splits(config: RunConfig, digest: str) -> Splits:
    """The splits of a configuration, with the digest that they had when it was trained.

    Raises:
        RunError: the data are not those that it was trained on.
    """
    splits, _ = load_splits(config.data)
    if splits.digest != digest:
        raise RunError(f"the data have changed since the run: {splits.digest} now, {digest} then")
    return splits


def _claim(folder: Path, config: RunConfig, resume: bool) -> None:
    path = folder / CONFIG_FILE
    if path.is_file():
        if RunConfig.model_validate_json(path.read_text()) != config:
            raise RunError(f"{folder} holds a run with another configuration: choose another folder")
        begun = (folder / name for name in (CHECKPOINT_FILE, RESULT_FILE, NEEDED_FOLDER))
        if not resume and any(place.exists() for place in begun):
            raise RunError(f"{folder} holds this run already: continue it with --resume, or choose another folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_record(path, config)


def _given_runs(config: RunConfig, folders: Sequence[Path]) -> dict[str, Path]:
    """Finished runs by what was trained."""
    digests = {need.training_digest() for need in config.needed_runs()}
    given = {read_run(folder)[0].training_digest(): folder for folder in folders}
    for digest, folder in given.items():
        if digest not in digests:
            why = _differences(read_run(folder)[0], config.needed_runs())
            raise RunError(f"{folder} was not trained as {config.method} needs it: {why}")
    return given


def _differences(given: RunConfig, needed: Sequence[RunConfig]) -> str:
    """Where a run is not the one of `needed` that it is nearest to, field by field."""
    ours = _fields(given)

    def unlike(need: RunConfig) -> list[str]:
        theirs = _fields(need)
        names = (name for name in ours | theirs if ours.get(name) != theirs.get(name))
        return [f"{name} is {ours.get(name)!r}, not {theirs.get(name)!r}" for name in names]

    return "; ".join(min(map(unlike, needed), key=len, default=["it is fitted on no other run"]))


def _fields(config: RunConfig) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in config.training_record().items():
        flat |= {f"{name}.{field}": item for field, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _open(config: RunConfig, folder: Path, console: Console) -> _Workshop:
    splits, messages = load_splits(config.data)
    for message in messages:
        console.print(message, highlight=False, soft_wrap=True)
    base = load_base_of(config)
    model = new_candidate(config, base)
    check_lengths(splits, model)
    train = encode_train(splits.train, model, config, console)
    return _Workshop(config, folder, splits, base, model, train, encode_fit(splits.fit, model), console)


def _train(workshop: _Workshop, method: TrainedMethod) -> tuple[RunResult, Finished]:
    config, folder, console, model = workshop.config, workshop.folder, workshop.console, workshop.model
    options = config.method_options()
    variation = None if method.variation is None else method.variation(model, options).to(model.device)
    trainer = Trainer(config, method, model, variation, workshop.train, lambda: _fit_nll(workshop, variation), folder)
    parameters = sum(parameter.numel() for parameter in trainer.parameters.values())
    console.print(
        f"{len(workshop.train)} training questions, {trainer.steps} steps, {parameters:,} trained parameters, "
        f"{workshop.base.identity.name} in {workshop.base.dtype_name} on {model.device}",
        highlight=False,
        soft_wrap=True,
    )
    progress = trainer.run(console)
    started = time.perf_counter()
    finished = method.finish(load_file(folder / KEPT_FILE), options, config.training.seed)
    return _result(workshop, finished, progress, parameters, time.perf_counter() - started), finished


def _fit_nll(workshop: _Workshop, through: BankCall | None) -> float:
    """The NLL on the fit split in nats per question, of the weights or of their mean."""
    posterior = PointPosterior(through)
    samples = score_in_batches(
        lambda batch: score_batch(workshop.model, posterior, batch),
        [question.encoded for question in workshop.fit],
        workshop.config.training.evaluation_batch_tokens,
    )
    probabilities = mean_probabilities(samples.logits)
    return negative_log_likelihood(probabilities, right_options(workshop.splits.fit)).mean().item()


def _fit(workshop: _Workshop, method: PostHocMethod, needed: Sequence[Path]) -> tuple[RunResult, Finished]:
    config = workshop.config
    results = [_result_on_same(folder, workshop) for folder in needed]
    weights = [load_file(folder / ADAPTER_FILE) for folder in needed]
    workshop.model.load_adapter_tensors(weights[0])
    workshop.model.eval()
    fitting = Fitting(
        model=workshop.model,
        weights=weights,
        snapshots=[load_file(snapshot_path(needed[0], index + 1)) for index in range(config.training.snapshots)],
        train=workshop.train,
        fit=workshop.fit,
        batch_tokens=config.training.evaluation_batch_tokens,
        seed=config.training.seed,
        console=workshop.console,
    )
    started = time.perf_counter()
    finished = method.fit(fitting, config.method_options())
    seconds = time.perf_counter() - started
    total = Progress(
        step=sum(result.steps for result in results),
        seconds=sum(result.seconds for result in results),
        tokens=sum(result.tokens for result in results),
        fit_nll=results[0].fit_nll,
    )
    parameters = sum(result.trained_parameters for result in results)
    return _result(workshop, finished, total, parameters, seconds), finished


def _result_on_same(folder: Path, workshop: _Workshop) -> RunResult:
    """The record of a needed run, trained on the very questions and base model that the method is fitted on."""
    result = read_run(folder)[1]
    for what, theirs, ours in (
        ("data", result.data_digest, workshop.splits.digest),
        ("base model", result.base.digest, workshop.base.identity.digest),
    ):
        if theirs != ours:
            raise RunError(f"{folder} was trained with another {what}: {theirs} then, {ours} now; train it again")
    return result


def _result(
    workshop: _Workshop, finished: Finished, progress: Progress, parameters: int, fit_seconds: float
) -> RunResult:
    splits, nlls = workshop.splits, progress.fit_nll
    best = workshop.config.training.keep_epoch == "best" and nlls
    return RunResult(
        base=workshop.base.identity,
        dtype=workshop.base.dtype_name,
        code_commit=code_commit(),
        data_digest=splits.digest,
        train=len(workshop.train),
        fit=len(splits.fit),
        guarantee=len(splits.guarantee),
        test=len(splits.test),
        steps=progress.step,
        seconds=progress.seconds,
        fit_seconds=fit_seconds,
        tokens=progress.tokens,
        trained_parameters=parameters,
        fit_nll=nlls,
        kept_epoch=progress.best_epoch + 1 if best else len(nlls),
        posterior=finished.posterior,
    )
