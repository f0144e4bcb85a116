"""Every setting of a training run, with its unit and range; recipes are validated against it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError, model_validator

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.identity import EMBEDDED
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import Frozen, complaints, placed_complaints, validate_strictly
from uq4ct.model_store.scoring.config import ClozeConfig, ScoringConfig
from uq4ct.training.calibration_name import CalibrationName
from uq4ct.training.data.config import DataConfig
from uq4ct.training.data.paths import locate_files
from uq4ct.training.losses import LossConfig
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import Need, TrainedMethod
from uq4ct.training.strict_yaml import YamlError, parse_yaml, read_yaml


class ConfigError(UserError, ValueError):
    """A recipe that cannot be run; the message names the field and the value."""


class BaseModelConfig(Frozen):
    """The base model, and the device and dtype that it runs on."""

    name: str = Field(
        default=EMBEDDED, min_length=1, description="the embedded model, a folder, a .gguf file, or a hub id"
    )
    revision: str | None = Field(default=None, description="commit or tag, for a hub id")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", description="dtype of the frozen base model"
    )


class OptimizerConfig(Frozen):
    """AdamW and its learning rate schedule."""

    learning_rate: float = Field(default=2e-4, gt=0, description="peak learning rate, per optimizer step")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay, per optimizer step")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="decay rates of the two moments")
    warmup_share: float = Field(default=0.06, ge=0, lt=1, description="share of all steps used for linear warm-up")
    decay: Literal["none", "linear", "cosine"] = Field(
        default="linear", description="shape of the decay to 0 after warm-up"
    )
    clip_norm: float | None = Field(
        default=1.0,
        gt=0,
        description="largest gradient norm, null = no limit; the noise parameters of a method are clipped separately",
    )


class TrainingConfig(Frozen):
    """How long to train, and in what batches."""

    epochs: int = Field(default=3, ge=0, le=1000, description="passes over the training questions; 0 if adopted")
    batch_questions: int = Field(default=16, ge=1, description="questions per optimizer step")
    accumulation: int = Field(
        default=1, ge=1, description="forward passes per optimizer step; must divide batch_questions"
    )
    forward_tokens: int | None = Field(
        default=None,
        ge=1,
        description="most tokens of a training forward, so a step may take several; None = as accumulation says",
    )
    checkpointing: bool = Field(
        default=False,
        description="recompute activations in the backward pass: less memory, more time",
    )
    seed: int = Field(default=0, ge=0, le=10**9, description="seed of initialisation, order, dropout and sampling")
    keep_epoch: Literal["last", "best"] = Field(
        default="best", description="epoch whose weights are kept; best = lowest NLL on the fit split"
    )
    resume_point_steps: int = Field(default=50, ge=1, description="optimizer steps between resume points")
    snapshots: int = Field(
        default=0, ge=0, description="weight snapshots, evenly spaced over the run; the last is taken at its end"
    )
    evaluation_batch_tokens: int = Field(
        default=2048,
        ge=1,
        description="most tokens of an evaluation forward pass, with padding; a sampled method runs S times as many",
    )

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.batch_questions % self.accumulation:
            raise ValueError(f"accumulation {self.accumulation} must divide batch_questions {self.batch_questions}")
        return self


class AdoptedConfig(Frozen):
    """The checkpoint that an adopted run's weights come from; `adopt` sets it, recipes leave it out."""

    format: Literal["peft", "mixlora"]
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$", description="digest of the tensor file")
    base: str | None = Field(description="name of the base model in the checkpoint")


class RunConfig(Frozen):
    """One training run, or an adapter that was trained elsewhere and adopted."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="name of the run and the adapter")
    method: str = Field(description="training method: a name from the table of methods")
    base: BaseModelConfig = BaseModelConfig()
    data: DataConfig
    scoring: ScoringConfig = ClozeConfig()
    adapter: AdapterConfig = AdapterConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    options: dict[str, JsonValue] = Field(default={}, description="settings of this method")
    calibration: CalibrationName = Field(default="temperature", description="calibration after training")
    adopted: AdoptedConfig | None = Field(default=None, description="checkpoint of an adopted run; `adopt` sets it")

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        if (self.training.epochs == 0) != (self.adopted is not None):
            raise ValueError(
                f"training.epochs is {self.training.epochs}: must be 0 for an adopted run, at least 1 for any other"
            )
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
        """Return the method's own options, with defaults for those that are not set.

        Raises:
            ValueError: an option is unknown or out of range.
        """
        options = METHODS[self.method].options
        try:
            return validate_strictly(options, self.options)
        except ValidationError as error:
            raise ValueError("; ".join(complaints(error, kind=options, spell="options.{}".format))) from error

    def needed_runs(self) -> Sequence[RunConfig]:
        """Return the runs that the method is fitted on; empty if it is trained by gradient steps."""
        method = METHODS[self.method]
        if isinstance(method, TrainedMethod):
            return ()
        return [self._run_of(need) for need in method.needs(self.method_options())]

    def training_digest(self) -> str:
        """Return a hash of everything that decides the weights, 64 hex digits; name and calibration do not count."""
        return hashlib.sha256(json.dumps(self.training_record(), sort_keys=True).encode()).hexdigest()

    def training_record(self) -> dict[str, Any]:
        """Return everything that decides the weights."""
        return self.model_dump(mode="json", exclude={"name", "calibration"})

    def _run_of(self, need: Need) -> RunConfig:
        sections = self.model_dump(exclude={"method", "options"})
        sections["training"]["seed"] += need.seed_offset
        return RunConfig.model_validate(sections | {"name": need.method, "method": need.method})


def load_run_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Read a recipe and apply overrides of the form `section.field=value` (values are YAML).

    Raises:
        ConfigError: the file is not a YAML mapping, an override has no `=`, or a field is unknown or out of range.
    """
    return parse_run_config(read_recipe(path, overrides), str(path), overrides)


def read_recipe(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a recipe and apply the overrides, without validating it.

    Its data files are looked up beside the recipe first; paths in overrides are relative to the working folder.

    Raises:
        ConfigError: the file is not a YAML mapping, an override has no `=`, or its value is not YAML.
    """
    try:
        record = read_yaml(path)
    except YamlError as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: a recipe must be a mapping of fields, not {type(record).__name__}")
    if isinstance(record.get("data"), dict):
        record["data"] = locate_files(record["data"], path.parent)
    for override in overrides:
        _override(record, override)
    return record


def parse_run_config(record: dict[str, Any], origin: str, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Validate a recipe; error messages name `origin`, or the override that the rejected value comes from.

    Raises:
        ConfigError: a field is missing, unknown or out of range.
    """
    try:
        return validate_strictly(RunConfig, record)
    except ValidationError as error:
        found: dict[str, list[str]] = {}
        for field, text in placed_complaints(error, kind=RunConfig):
            found.setdefault(_blame(field, origin, overrides), []).append(text)
        raise ConfigError("; ".join(f"{blamed}: {'; '.join(texts)}" for blamed, texts in found.items())) from error


def _blame(field: str, origin: str, overrides: tuple[str, ...]) -> str:
    """Name the last override that sets a field, or else the recipe and the overrides of what lies below the field."""
    paths = {override: override.partition("=")[0] for override in overrides}
    above = [override for override, path in paths.items() if f"{field}.".startswith(f"{path}.")]
    if above:
        return f"--set {above[-1]}"
    below = [f"--set {override}" for override, path in paths.items() if not field or path.startswith(f"{field}.")]
    return f"{' '.join(below)} on {origin}" if below else origin


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
        record[field] = parse_yaml(value)
    except YamlError as error:
        raise ConfigError(f"override {override!r}: the value cannot be read as YAML: {error}") from error
