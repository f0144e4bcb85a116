"""Load a finished run from its folder as a model that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.base.recorded import load_recorded_base
from uq4ct.model_store.posteriors import adapter_tensors
from uq4ct.model_store.predictor import Predictor
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.splits import Splits
from uq4ct.training.model_process import leave_cpus
from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.new_model import make_model
from uq4ct.training.runs.records import ADAPTER_FILE, RunError, RunResult, read_run
from uq4ct.training.runs.resume_point import read_tensors


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A finished run, ready to answer; `tensors` are the stored ones, of the adapter and its posterior."""

    config: RunConfig
    result: RunResult
    base: BaseModel
    model: AdaptedModel
    tensors: Mapping[str, Tensor]

    def predictor(self) -> Predictor:
        """The run's model with its posterior, uncalibrated."""
        return Predictor(self.model, self.result.posterior.build(self.tensors))


def load_run(
    folder: Path, *, device: str | None = None, dtype: str | None = None, base_folders: Sequence[Path] = ()
) -> TrainedRun:
    """Load a finished run, by default on its configured device and in the dtype of its training.

    Args:
        base_folders: folders to find the base model in, by its digest.

    Raises:
        RunError: the folder holds no finished run, or the base model has changed since it was trained.
    """
    config, result = read_run(folder)
    base = leave_cpus(
        load_recorded_base(
            result.base, folders=base_folders, device=device or config.base.device, dtype=dtype or result.dtype
        )
    )
    if base.identity.digest != result.base.digest:
        raise RunError(
            f"{folder} was trained on another base model: {result.base.digest} then, {base.identity.digest} now"
        )
    model = make_model(config, base)
    tensors = read_tensors(folder / ADAPTER_FILE)
    model.load_adapter_tensors(adapter_tensors(tensors))
    return TrainedRun(config, result, base, model, tensors)


def load_run_splits(run: TrainedRun) -> Splits:
    """Load the splits of a run.

    Raises:
        RunError: the data have changed since it was trained.
    """
    return load_same_splits(run.config, run.result.data_digest)


def load_same_splits(config: RunConfig, digest: str) -> Splits:
    """Load the splits of a configuration and check the digest that they had in training.

    Raises:
        RunError: the data have changed since then.
    """
    splits, _ = load_splits(config.data)
    if splits.digest != digest:
        raise RunError(f"the data have changed since the run: {splits.digest} now, {digest} then")
    return splits
