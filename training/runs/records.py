"""The records in a run's folder: its configuration, and the result of a finished run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from uq4ct.model_store.base.identity import BaseIdentity, DtypeName
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import Frozen, complaints, validate_strictly
from uq4ct.model_store.posteriors import PosteriorConfig
from uq4ct.model_store.regular_files import MEBIBYTE, read_regular, reason_of
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.model_store.strict_json import JsonError, parse_json
from uq4ct.training.run_config import RunConfig

R = TypeVar("R", bound=Frozen)

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
ADAPTER_FILE = "adapter.safetensors"
MOST_RECORD_BYTES = 16 * MEBIBYTE


class RunError(UserError, RuntimeError):
    """A run folder that cannot be used as requested."""


class RunResult(Frozen):
    """The result of a finished run; steps, seconds, tokens and parameters include the runs that it was fitted on."""

    base: BaseIdentity
    dtype: DtypeName = Field(description="compute dtype of the frozen base model")
    code_commit: str | None
    data_digest: str
    train: int = Field(description="questions trained on or held out for FEU")
    fit: int
    guarantee: int
    test: int
    steps: int
    seconds: float = Field(description="seconds in training steps")
    fit_seconds: float = Field(description="seconds in fitting after the steps")
    tokens: int = Field(description="real tokens trained on")
    trained_parameters: int
    fit_nll: tuple[float, ...] = Field(description="NLL on the fit split after each epoch, nats per question")
    kept_epoch: int = Field(description="counted from 1; 0 for an adopted run")
    posterior: PosteriorConfig


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a finished run, readable or not."""
    return os.path.lexists(folder / RESULT_FILE)


def read_run(folder: Path) -> tuple[RunConfig, RunResult]:
    """Read the records of a finished run.

    Raises:
        RunError: the folder holds no finished run, or a damaged one.
    """
    if not is_finished(folder):
        raise RunError(f"{folder} holds no finished run (no {RESULT_FILE})")
    return read_record(folder / CONFIG_FILE, RunConfig), read_record(folder / RESULT_FILE, RunResult)


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record of a run.

    Raises:
        RunError: the file is damaged, or is of another version of the code.
    """
    try:
        return validate_strictly(kind, parse_json(read_regular(path, MOST_RECORD_BYTES)))
    except ValidationError as error:
        raise RunError(f"{path} cannot be read: {'; '.join(complaints(error))}") from error
    except JsonError as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason_of(error)}") from error


def write_record(path: Path, record: Frozen) -> None:
    """Write a record atomically, because its presence marks a stage of the run as done."""
    replace_file(path, record.model_dump_json(indent=2).encode())
