"""The models that can be evaluated: a finished run, a stored adapter, or a recipe's base model before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uq4ct.model_store.base.recorded import load_recorded_base
from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.published import predictor_on_base
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.splits import Splits
from uq4ct.training.model_process import leave_cpus
from uq4ct.training.run_config import RunConfig, parse_run_config
from uq4ct.training.runs.load import load_run, load_run_splits, load_same_splits
from uq4ct.training.runs.new_model import load_base_of, make_model


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model to evaluate: its raw predictor, its data and its calibration (None: to be fitted on the fit split)."""

    title: str
    predictor: Predictor
    config: RunConfig
    splits: Splits
    calibration: Calibration | None


def open_run(
    folder: Path, *, device: str | None, dtype: str | None, base_folders: Sequence[Path] = ()
) -> EvaluatedModel:
    """Open a finished run; its calibration is fitted anew.

    Raises:
        RunError: the folder holds no finished run, or its data or base model have changed since it was trained.
    """
    run = load_run(folder, device=device, dtype=dtype, base_folders=base_folders)
    return EvaluatedModel(run.config.name, run.predictor(), run.config, load_run_splits(run), None)


def open_stored(
    registry: Registry,
    reference: str,
    *,
    device: str | None,
    dtype: str | None,
    base_folders: Sequence[Path] = (),
) -> EvaluatedModel:
    """Open a stored adapter with its stored calibration.

    Raises:
        RunError: its data have changed since it was trained.
    """
    stored = registry.load(reference)
    config = parse_run_config(dict(stored.manifest.provenance.recipe), f"recipe of {stored.manifest.reference}")
    base = leave_cpus(
        load_recorded_base(
            stored.manifest.base,
            folders=base_folders,
            device=device or config.base.device,
            dtype=dtype or config.base.dtype,
        )
    )
    predictor = predictor_on_base(stored, base).predictor
    splits = load_same_splits(config, stored.manifest.provenance.data_digest)
    return EvaluatedModel(stored.manifest.reference, predictor, config, splits, stored.manifest.calibration)


def open_untrained(config: RunConfig, *, device: str | None, dtype: str | None) -> EvaluatedModel:
    """Open a recipe's base model, without training."""
    base = load_base_of(config, device=device, dtype=dtype)
    predictor = Predictor(make_model(config, base), PointPosterior())
    splits, _ = load_splits(config.data)
    return EvaluatedModel(f"{config.name}, untrained", predictor, config, splits, None)
