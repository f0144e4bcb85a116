"""Turn adapters that were trained elsewhere into finished runs, and plain LoRA runs into PEFT checkpoints."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.model_store.scoring.config import SCORING_PREFIX
from uq4ct.training.data.loading import load_splits
from uq4ct.training.formats import read_adapter
from uq4ct.training.formats.foreign import ForeignAdapter, FormatError
from uq4ct.training.formats.peft_lora import write_peft
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import PostHocMethod
from uq4ct.training.run_config import ConfigError, RunConfig, parse_run_config
from uq4ct.training.runs.folder import claim_folder, has_begun
from uq4ct.training.runs.new_model import load_base_of, make_model
from uq4ct.training.runs.provenance import code_commit
from uq4ct.training.runs.records import (
    ADAPTER_FILE,
    RESULT_FILE,
    RunError,
    RunResult,
    read_run,
    write_record,
)
from uq4ct.training.runs.resume_point import read_tensors, save_tensors
from uq4ct.training.runs.train import train_run

METHOD_OF = {"peft": "lora", "mixlora": "mixlora"}


def adopt_checkpoint(
    folder: Path,
    record: dict[str, Any],
    origin: str,
    output: Path,
    console: Console,
    overrides: tuple[str, ...] = (),
) -> RunResult:
    """Turn the checkpoint in `folder` into a finished run with the data, base model and scoring of a recipe.

    If the recipe's method is fitted on one plain LoRA run, it is fitted on the checkpoint; with any other recipe the
    weights are used unchanged. Parameters of the scoring (the scale of cloze) have their initial values. `origin` names
    the recipe in error messages, and `overrides` are those that the record contains.

    Raises:
        FormatError: the checkpoint needs something that our adapters do not support, or does not fit the base model.
        RunError: the output folder already contains a run.
        ConfigError, DataError, QuestionFileError, BaseModelError: the recipe, its data or its base model cannot be
            used.
    """
    foreign = read_adapter(folder)
    config = adopting_config(record, foreign, origin, overrides)
    if has_begun(output):
        raise RunError(f"{output} already holds a run: choose another folder")
    if config.method == METHOD_OF[foreign.format]:
        return _write_run(config, foreign, output)
    with TemporaryDirectory() as scratch:
        (need,) = config.needed_runs()
        _write_run(need, foreign, Path(scratch))
        return train_run(config, output, console, on=[Path(scratch)])


def adopting_config(
    record: dict[str, Any], foreign: ForeignAdapter, origin: str, overrides: tuple[str, ...] = ()
) -> RunConfig:
    """Return the recipe's data, base model and scoring with the checkpoint's adapter and no training.

    Of the recipe's adapter section only `feu_tokens` is used; the calibration loss is off.

    Raises:
        ConfigError: the recipe is invalid, or its method is fitted on more than one run.
    """
    for section in ("adapter", "training"):
        if not isinstance(record.get(section, {}), dict):
            raise ConfigError(f"{origin}: {section} must be a section (got {record[section]!r})")
    kept = {field: value for field, value in record.get("adapter", {}).items() if field == "feu_tokens"}
    changes = {
        "adapter": foreign.config.model_dump() | kept,
        "loss": {"calibration": 0},
        "training": record.get("training", {}) | {"epochs": 0, "snapshots": 0},
        "adopted": {"format": foreign.format, "digest": foreign.digest, "base": foreign.base},
    }
    if not isinstance(METHODS.get(str(record.get("method"))), PostHocMethod):
        changes |= {"method": METHOD_OF[foreign.format], "options": {}}
    config = parse_run_config(record | changes, origin, overrides)
    if len(config.needed_runs()) > 1:
        raise ConfigError(
            f"{origin}: method {config.method!r} is fitted on several runs, but a checkpoint is a single run"
        )
    return config


def _write_run(config: RunConfig, foreign: ForeignAdapter, output: Path) -> RunResult:
    """Write a finished run with the checkpoint's weights unchanged."""
    base = load_base_of(config)
    _check_activation(foreign, base)
    model = make_model(config, base)
    _fill(model, foreign)
    splits, _ = load_splits(config.data)
    result = RunResult(
        base=base.identity,
        dtype=base.dtype_name,
        code_commit=code_commit(),
        data_digest=splits.digest,
        train=0,
        fit=len(splits.fit),
        guarantee=len(splits.guarantee),
        test=len(splits.test),
        steps=0,
        seconds=0.0,
        fit_seconds=0.0,
        tokens=0,
        trained_parameters=sum(parameter.numel() for parameter in model.adapter_tensors().values()),
        fit_nll=(),
        kept_epoch=0,
        posterior=PointConfig(),
    )
    claim_folder(output, config, resume=False)
    save_tensors(output / ADAPTER_FILE, model.adapter_tensors())
    write_record(output / RESULT_FILE, result)
    return result


def export_run(run: Path, folder: Path) -> list[str]:
    """Write a finished plain LoRA run as a PEFT checkpoint; return the names of the tensors that it cannot store.

    Raises:
        RunError: the folder holds no finished run.
        FormatError: the adapter is not plain LoRA.
    """
    config, result = read_run(run)
    if not isinstance(result.posterior, PointConfig):
        raise FormatError(
            f"{run} has a posterior, {result.posterior.kind!r}, which a PEFT LoRA checkpoint cannot store: export the "
            "lora run that it was fitted on"
        )
    tensors = read_tensors(run / ADAPTER_FILE)
    left_out = sorted(name for name in tensors if name.startswith(SCORING_PREFIX))
    experts = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    write_peft(folder, config.adapter, experts, result.base.name, result.base.revision)
    return left_out


def _check_activation(foreign: ForeignAdapter, base: BaseModel) -> None:
    activation = base.model.config.hidden_act
    if foreign.activation not in (None, activation):
        raise FormatError(
            f"act_fn is {foreign.activation!r}; the feed-forward block of {base.identity.name} uses {activation!r}"
        )


def _fill(model: AdaptedModel, foreign: ForeignAdapter) -> None:
    own = model.adapter_tensors()
    scoring: dict[str, torch.Tensor] = {name: own[name] for name in own if name.startswith(SCORING_PREFIX)}
    try:
        model.load_adapter_tensors(foreign.tensors | scoring)
    except ValueError as error:
        raise FormatError(f"the checkpoint does not fit the base model: {error}") from error
