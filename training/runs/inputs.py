"""Shared by the stages of one run: its configuration, questions and model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.base.models import BaseModel
from uq4ct.training.console import say
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.splits import Splits
from uq4ct.training.data.training_set import TrainingSet
from uq4ct.training.methods.base import Finished, TrainedMethod, Variation
from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.encoded_splits import check_questions, encode_fit, encode_train
from uq4ct.training.runs.new_model import load_base_of, make_model
from uq4ct.training.runs.provenance import code_commit
from uq4ct.training.runs.recomputing import recompute_activations
from uq4ct.training.runs.records import RunResult
from uq4ct.training.runs.resume_point import LoopState


@dataclass(frozen=True, slots=True)
class RunInputs:
    """One run's configuration and folder, its splits, its untrained model, and its encoded questions."""

    config: RunConfig
    folder: Path
    splits: Splits
    base: BaseModel
    model: AdaptedModel
    train: TrainingSet
    fit: TrainingSet
    console: Console


def load_inputs(config: RunConfig, folder: Path, console: Console) -> RunInputs:
    """Load the data and the base model of a run, and check that every question can be tokenised.

    Raises:
        ConfigError: a question outside train is too long, or the adapter does not fit the base model.
        DataError, QuestionFileError: the data cannot be read or tokenised.
        BaseModelError: the base model cannot be read.
    """
    splits, messages = load_splits(config.data)
    for message in messages:
        say(console, message)
    base = load_base_of(config)
    model = make_model(config, base)
    check_questions(splits, model)
    train = encode_train(splits.train, model, config, console, folder)
    return RunInputs(config, folder, splits, base, model, train, encode_fit(splits.fit, model, folder), console)


def prepare_steps(inputs: RunInputs, method: TrainedMethod) -> Variation | None:
    """Let the model recompute activations if the configuration says so, and return the method's noise on it, if any.

    Raises:
        ConfigError: the base model's family does not support recomputing.
    """
    config, model = inputs.config, inputs.model
    if config.training.checkpointing:
        recompute_activations(model)
    return None if method.variation is None else method.variation(model, config.method_options()).to(model.device)


def make_result(
    inputs: RunInputs, finished: Finished, state: LoopState, parameters: int, fit_seconds: float
) -> RunResult:
    """Return the record of a finished run; `state` counts the steps of all runs that it includes."""
    splits, nlls = inputs.splits, state.fit_nll
    best = inputs.config.training.keep_epoch == "best" and nlls
    return RunResult(
        base=inputs.base.identity,
        dtype=inputs.base.dtype_name,
        code_commit=code_commit(),
        data_digest=splits.digest,
        train=len(inputs.train),
        fit=len(splits.fit),
        guarantee=len(splits.guarantee),
        test=len(splits.test),
        steps=state.step,
        seconds=state.seconds,
        fit_seconds=fit_seconds,
        tokens=state.tokens,
        trained_parameters=parameters,
        fit_nll=nlls,
        kept_epoch=state.best_epoch + 1 if best else len(nlls),
        posterior=finished.posterior,
    )
