"""A run from its configuration to its folder, and back from the folder to a model that answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from rich.console import Console
from safetensors.torch import load_file

from model_store.base_identity import BaseIdentity, DtypeName
from model_store.base_models import BaseModel, load_base_model
from model_store.candidate_model import CandidateModel, add_adapter
from model_store.frozen import Frozen
from model_store.posteriors.point import PointPosterior
from model_store.predictor import score_batch, score_in_batches
from model_store.questions import Question
from model_store.scoring.encoding import EncodedQuestion, QuestionTooLongError
from model_store.uncertainty.decomposition import mean_probabilities
from model_store.uncertainty.proper_scores import negative_log_likelihood
from training.batches import TrainingQuestion
from training.checkpoint import CHECKPOINT_FILE
from training.data.loading import load_splits
from training.data.splits import Splits
from training.evaluation import right_options
from training.loop import ADAPTER_FILE, Trainer
from training.loss_config import LossConfig
from training.provenance import code_commit
from training.run_config import ConfigError, RunConfig

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"


class RunError(RuntimeError):
    """A run folder that cannot be used as asked."""


class RunResult(Frozen):
    """What a finished run found out."""

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
    tokens: int = Field(description="real tokens trained on")
    trained_parameters: int
    fit_nll: tuple[float, ...] = Field(description="NLL on the fit split after each epoch, nats per question")
    kept_epoch: int = Field(description="counted from 1")


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A finished run, ready to answer."""

    config: RunConfig
    result: RunResult
    base: BaseModel
    model: CandidateModel


def train_run(config: RunConfig, folder: Path, console: Console, *, resume: bool = False) -> RunResult:
    """Train as configured and leave config, step log, weights and result in `folder`.

    Raises:
        RunError: the folder holds another run, or this one and `resume` is not set.
        ConfigError, DataError, BaseModelError, DivergedError: as their rooms say.
    """
    _claim(folder, config, resume)
    splits, messages = load_splits(config.data)
    for message in messages:
        console.print(message, highlight=False, soft_wrap=True)
    base = load_base_of(config)
    model = new_candidate(config, base)
    questions = _training_questions(splits.train, model, config, console)
    encoded_fit = [_encode(model, question) for question in splits.fit]
    answers = right_options(splits.fit)

    def fit_nll() -> float:
        samples = score_in_batches(
            lambda batch: score_batch(model, PointPosterior(), batch),
            encoded_fit,
            config.training.evaluation_batch_tokens,
        )
        return negative_log_likelihood(mean_probabilities(samples.logits), answers).mean().item()

    trainer = Trainer(config, model, questions, fit_nll, folder)
    console.print(
        f"{len(questions)} training questions, {trainer.steps} steps, {_count(model):,} trained parameters, "
        f"{base.identity.name} in {base.dtype_name} on {model.device}",
        highlight=False,
        soft_wrap=True,
    )
    progress = trainer.run(console)
    kept = progress.best_epoch if config.training.keep_epoch == "best" else len(progress.fit_nll) - 1
    result = RunResult(
        base=base.identity,
        dtype=base.dtype_name,
        code_commit=code_commit(),
        data_digest=splits.digest,
        train=len(questions),
        fit=len(splits.fit),
        guarantee=len(splits.guarantee),
        test=len(splits.test),
        steps=progress.step,
        seconds=progress.seconds,
        tokens=progress.tokens,
        trained_parameters=_count(model),
        fit_nll=progress.fit_nll,
        kept_epoch=kept + 1,
    )
    (folder / RESULT_FILE).write_text(result.model_dump_json(indent=2))
    return result


def load_run(folder: Path, *, device: str | None = None, dtype: str | None = None) -> TrainedRun:
    """Read a finished run back; device and dtype default to those of its configuration.

    Raises:
        RunError: the folder holds no finished run, or the base model is not the one it was trained on.
    """
    if not (folder / RESULT_FILE).is_file():
        raise RunError(f"{folder} holds no finished run (no {RESULT_FILE})")
    config = RunConfig.model_validate_json((folder / CONFIG_FILE).read_text())
    result = RunResult.model_validate_json((folder / RESULT_FILE).read_text())
    base = load_base_of(config, device=device, dtype=dtype)
    if base.identity.digest != result.base.digest:
        raise RunError(f"{folder} was trained on {result.base.digest}, the base model here is {base.identity.digest}")
    model = new_candidate(config, base)
    model.load_adapter_tensors(load_file(folder / ADAPTER_FILE))
    return TrainedRun(config, result, base, model)


def load_run_splits(run: TrainedRun) -> Splits:
    """The splits of a run.

    Raises:
        RunError: the data are not those that it was trained on.
    """
    splits, _ = load_splits(run.config.data)
    if splits.digest != run.result.data_digest:
        raise RunError(f"the data have changed since the run: {splits.digest} now, {run.result.data_digest} then")
    return splits


def load_base_of(config: RunConfig, *, device: str | None = None, dtype: str | None = None) -> BaseModel:
    """The base model of a configuration; device and dtype default to the configuration's."""
    base = config.base
    return load_base_model(base.name, base.revision, device=device or base.device, dtype=dtype or base.dtype)


def new_candidate(config: RunConfig, base: BaseModel) -> CandidateModel:
    """An untrained adapter (its output is the base model's), initialised from the run's seed."""
    torch.manual_seed(config.training.seed)
    return add_adapter(base, config.adapter, config.scoring)


def _claim(folder: Path, config: RunConfig, resume: bool) -> None:
    path = folder / CONFIG_FILE
    if path.is_file():
        if RunConfig.model_validate_json(path.read_text()) != config:
            raise RunError(f"{folder} holds a run with another configuration: choose another folder")
        if not resume and ((folder / CHECKPOINT_FILE).is_file() or (folder / RESULT_FILE).is_file()):
            raise RunError(f"{folder} holds this run already: continue it with --resume, or choose another folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(config.model_dump_json(indent=2))


def _training_questions(
    train: Sequence[Question], model: CandidateModel, config: RunConfig, console: Console
) -> list[TrainingQuestion]:
    """Encode the training split; what does not fit the token limit is left out, with a message."""
    held_out = _held_out(train, config.loss, config.training.seed)
    right = right_options(train).tolist()
    encoded: list[TrainingQuestion] = []
    too_long: list[str] = []
    for question, answer in zip(train, right, strict=True):
        try:
            encoded.append(TrainingQuestion(model.scorer.encode(question), answer, question.id in held_out))
        except QuestionTooLongError:
            too_long.append(question.id)
    if too_long:
        limit = model.scorer.token_limit
        console.print(
            f"{len(too_long)} training questions over {limit} tokens left out, the first {too_long[0]!r}",
            soft_wrap=True,
        )
    if all(question.held_out for question in encoded):
        raise ConfigError("data: no training question is left")
    return encoded


def _held_out(train: Sequence[Question], loss: LossConfig, seed: int) -> set[str]:
    """The ids of the questions that only the calibration loss sees."""
    if loss.indicator == "training":
        return set()
    ids = sorted(question.id for question in train)
    return set(random.Random(f"held out {seed}").sample(ids, max(1, round(len(ids) * loss.held_out_share))))


def _encode(model: CandidateModel, question: Question) -> EncodedQuestion:
    try:
        return model.scorer.encode(question)
    except QuestionTooLongError as error:
        raise ConfigError(f"scoring.max_tokens: question {question.id!r}: {error}") from error


def _count(model: CandidateModel) -> int:
    return sum(parameter.numel() for parameter in model.adapter_tensors().values())
