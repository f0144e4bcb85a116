"""Every knob of a training run, with its unit and range; recipes bind to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, JsonValue, ValidationError, model_validator

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.models import EMBEDDED
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import Frozen, complaints
from uq4ct.model_store.scoring.config import ClozeConfig, ScoringConfig
from uq4ct.training.data.config import DataConfig
from uq4ct.training.data.paths import locate_files
from uq4ct.training.losses import LossConfig
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import Need, TrainedMethod

CalibrationName = Literal["none", "temperature", "platt", "isotonic", "feu_temperature"]


class ConfigError(UserError, ValueError):
    """A recipe that cannot be run; the message names the field and the value."""


class BaseModelConfig(Frozen):
    """Which base model, and how it is computed."""

    name: str = Field(default=EMBEDDED, description="the embedded model, a folder, or a hub id")
    revision: str | None = Field(default=None, description="commit or tag of a hub id")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(default="auto", description="of the frozen base")


class OptimizerConfig(Frozen):
    """AdamW and its schedule."""

    learning_rate: float = Field(default=2e-4, gt=0, description="peak, per optimizer step")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled, per optimizer step")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="decay rates of the two moments")
    warmup_share: float = Field(default=0.06, ge=0, lt=1, description="share of all steps in linear warm-up")
    decay: Literal["none", "linear", "cosine"] = Field(default="linear", description="after the warm-up, down to 0")
    clip_norm: float = Field(default=1.0, gt=0, description="largest gradient norm; a variation has its own")


class TrainingConfig(Frozen):
    """How long and in what portions."""

    epochs: int = Field(default=3, ge=0, le=1000, description="passes over the training questions; 0: adopted")
    batch_questions: int = Field(default=16, ge=1, description="questions in an optimizer step")
    accumulation: int = Field(default=1, ge=1, description="forwards in an optimizer step; divides batch_questions")
    seed: int = Field(default=0, ge=0, description="of initialisation, order, dropout and draws")
    keep_epoch: Literal["last", "best"] = Field(default="best", description="best = lowest NLL on the fit split")
    resume_point_steps: int = Field(default=50, ge=1, description="optimizer steps between resume points")
    snapshots: int = Field(default=0, ge=0, description="weights kept at even steps of the run, the last at its end")
    evaluation_batch_tokens: int = Field(
        default=2048,
        ge=1,
        description="most tokens of an evaluation forward, pads counted; a sampled method runs S times as many",
    )

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.batch_questions % self.accumulation:
            raise ValueError(f"accumulation {self.accumulation} does not divide batch_questions {self.batch_questions}")
        return self


class AdoptedConfig(Frozen):
    """The checkpoint that weights not trained here come from; `adopt` writes it, no recipe has it."""

    format: Literal["peft", "mixlora"]
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$", description="of the file of its tensors")
    base: str | None = Field(description="what it calls its base model")


class RunConfig(Frozen):
    """One training run, or an adapter adopted from elsewhere, which no epoch was trained here."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="of the run and of the published adapter")
    method: str = Field(description="how the adapter is trained: a name of the methods table")
    base: BaseModelConfig = BaseModelConfig()
    data: DataConfig = Field(discriminator="source")
    scoring: ScoringConfig = ClozeConfig()
    adapter: AdapterConfig = AdapterConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    options: dict[str, JsonValue] = Field(default={}, description="settings of the method's own")
    calibration: CalibrationName = Field(default="temperature", description="what is fitted after training")
    adopted: AdoptedConfig | None = Field(
        default=None, description="where weights not trained here come from; `adopt` sets it"
    )

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        if (self.training.epochs == 0) != (self.adopted is not None):
            raise ValueError(f"training.epochs is {self.training.epochs}: an adopted run has 0, any other at least 1")
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r} is not one of {', '.join(sorted(METHODS))}")
        method = METHODS[self.method]
        options = self.method_options()
        if isinstance(method, TrainedMethod):
            method.check(self.adapter, self.loss)
        else:
            method.check(self.adapter, self.loss, self.training.snapshots, options)
            self.needed_runs()
        return self

    def method_options(self) -> Frozen:
        """The method's own knobs, with the defaults of those that are not set.

        Raises:
            ValueError: a knob is unknown or out of range.
        """
        try:
            return METHODS[self.method].options.model_validate(self.options)
        except ValidationError as error:
            raise ValueError("; ".join(complaints(error, spell="options.{}".format))) from error

    def needed_runs(self) -> Sequence[RunConfig]:
        """The runs that a method without gradient steps is fitted on; none for one that has them."""
        method = METHODS[self.method]
        if isinstance(method, TrainedMethod):
            return ()
        return [self._run_of(need) for need in method.needs(self.method_options())]

    def training_digest(self) -> str:
        """What tells two runs apart whatever they are called and however they are calibrated: 64 hex digits."""
        return hashlib.sha256(json.dumps(self.training_record(), sort_keys=True).encode()).hexdigest()

    def training_record(self) -> dict[str, Any]:
        """Everything that decides the weights."""
        return self.model_dump(mode="json", exclude={"name", "calibration"})

    def _run_of(self, need: Need) -> RunConfig:
        sections = self.model_dump(exclude={"method", "options"})
        sections["training"]["seed"] += need.seed_offset
        return RunConfig.model_validate(sections | {"name": need.method, "method": need.method})


def load_run_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Read a recipe and apply overrides of the form `section.field=value` (values are YAML).

    Raises:
        ConfigError: the file is no YAML mapping, an override has no `=`, or a field is unknown or out of range.
    """
    return parse_run_config(read_recipe(path, overrides), str(path))


def read_recipe(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe's record with the overrides applied, not validated yet.

    Its data files are looked up beside the recipe first; paths in overrides are relative to the working folder.

    Raises:
        ConfigError: the file is no YAML mapping, or an override has no `=` or no YAML value.
    """
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of fields, not {type(record).__name__}")
    if isinstance(record.get("data"), dict):
        record["data"] = locate_files(record["data"], path.parent)
    for override in overrides:
        _override(record, override)
    return record


def parse_run_config(record: dict[str, Any], origin: str) -> RunConfig:
    """Validate a recipe; `origin` stands before each complaint.

    Raises:
        ConfigError: a field is missing, unknown or out of range.
    """
    try:
        return RunConfig.model_validate(record)
    except ValidationError as error:
        raise ConfigError("\n  ".join([f"{origin}:", *complaints(error)])) from error


def _override(record: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"override {override!r} is not of the form section.field=value")
    *sections, field = path.split(".")
    for section in sections:
        inner = record.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override {override!r}: {section!r} is not a section")
        record = inner
    try:
        record[field] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value cannot be read as YAML: {error}") from error
