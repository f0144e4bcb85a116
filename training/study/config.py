"""The configuration of a study: data sets x methods x seeds, and the run of each cell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError, model_validator

from uq4ct.model_store.frozen import Frozen, complaints, validate_strictly
from uq4ct.training.data.paths import locate_files
from uq4ct.training.run_config import CalibrationName, ConfigError, RunConfig, parse_run_config, read_recipe

Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,29}$")]
Section = dict[str, Any]


class _Sections(Frozen):
    """Sections of a run's recipe; each is merged field by field over the more general one and validated as a whole."""

    base: Section = Field(default_factory=dict)
    scoring: Section = Field(default_factory=dict)
    adapter: Section = Field(default_factory=dict)
    loss: Section = Field(default_factory=dict)
    optimizer: Section = Field(default_factory=dict)
    training: Section = Field(default_factory=dict)


class DataSetConfig(_Sections):
    """One data set with its shift sets, and the settings that all methods change on it."""

    data: Section = Field(description="the data section of a run's recipe")
    methods: tuple[Label, ...] | None = Field(
        default=None, min_length=1, description="labels that run on it; null = all"
    )


class MethodConfig(_Sections):
    """One method of the table with its settings."""

    method: str = Field(description="a name from the table of methods")
    options: Section = Field(default_factory=dict, description="the method's own options")


class StudyConfig(_Sections):
    """Every setting of a study; sections of a data set override the common ones, sections of a method override both."""

    name: Label
    data_sets: dict[Label, DataSetConfig] = Field(min_length=1)
    methods: dict[Label, MethodConfig] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="random seeds of the runs")
    calibrations: tuple[CalibrationName, ...] = Field(
        default=("none", "temperature"),
        min_length=1,
        description="calibrations that every method is scored under, where they apply",
    )
    baseline: Label = Field(description="label of the method that the others are compared with")
    baseline_calibration: CalibrationName = Field(default="none", description="calibration of the baseline")

    @model_validator(mode="after")
    def _check(self) -> StudyConfig:
        for field, values in (("seeds", self.seeds), ("calibrations", self.calibrations)):
            if len(set(values)) != len(values):
                raise ValueError(f"{field} {list(values)} contains a value twice")
        if self.baseline not in self.methods:
            raise ValueError(f"baseline {self.baseline!r} is not one of the methods {', '.join(self.methods)}")
        if self.baseline_calibration not in self.calibrations:
            raise ValueError(f"baseline_calibration {self.baseline_calibration!r} is not one of the calibrations")
        for name, data_set in self.data_sets.items():
            unknown = [label for label in data_set.methods or () if label not in self.methods]
            if unknown:
                raise ValueError(f"data_sets.{name}.methods: {unknown[0]!r} is not one of the methods")
        return self


class CellKey(NamedTuple):
    """The position of a cell in its study."""

    data_set: str
    label: str
    seed: int

    def __str__(self) -> str:
        return f"{self.label} on {self.data_set}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of a study: a method on a data set with a seed.

    `digest` covers everything that decides the row: every setting of the run, and the calibrations it is scored under.
    """

    key: CellKey
    config: RunConfig
    digest: str


@dataclass(frozen=True, slots=True)
class Study:
    """A valid study: its configuration and its cells, in the order in which they run."""

    config: StudyConfig
    cells: tuple[Cell, ...]


def load_study(path: Path) -> Study:
    """Read a study recipe and bind each of its cells to a run.

    Raises:
        ConfigError: the file is not a YAML mapping, or a field of it or of a cell's run is unknown or out of range;
            the message names file, data set, label and field.
    """
    config = _parse(path)
    keys = [
        CellKey(name, label, seed)
        for name, data_set in config.data_sets.items()
        for seed in config.seeds
        for label in data_set.methods or config.methods
    ]
    return Study(config, tuple(_cell(config, key, path) for key in keys))


def select_cells(study: Study, only: tuple[str, ...]) -> tuple[Cell, ...]:
    """Return the cells of the given labels; all if none are given.

    Raises:
        ConfigError: the study has no such label.
    """
    unknown = [label for label in only if label not in study.config.methods]
    if unknown:
        raise ConfigError(f"the study has no method {unknown[0]!r}, only {', '.join(study.config.methods)}")
    return tuple(cell for cell in study.cells if not only or cell.key.label in only)


def merge_sections(general: Mapping[str, Any], special: Mapping[str, Any]) -> dict[str, Any]:
    """Return `general` overridden by the fields of `special`; nested mappings are merged in the same way."""
    merged = dict(general)
    for key, value in special.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge_sections(below, value)
        else:
            merged[key] = value
    return merged


def _parse(path: Path) -> StudyConfig:
    record = read_recipe(path)
    _locate_data_files(record, path.parent)
    try:
        return validate_strictly(StudyConfig, record)
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(complaints(error, kind=StudyConfig))}") from error


def _locate_data_files(record: dict[str, Any], folder: Path) -> None:
    data_sets = record.get("data_sets")
    for data_set in data_sets.values() if isinstance(data_sets, dict) else ():
        if isinstance(data_set, dict) and isinstance(data_set.get("data"), dict):
            data_set["data"] = locate_files(data_set["data"], folder)


def _cell(config: StudyConfig, key: CellKey, path: Path) -> Cell:
    where, how = config.data_sets[key.data_set], config.methods[key.label]
    record: dict[str, Any] = {"data": where.data}
    for level in (config, where, how):
        record = merge_sections(record, dict(_stated_sections(level)))
    own = {"training": {"seed": key.seed}, "method": how.method, "name": how.method}
    record = merge_sections(record, own)
    if how.options:
        record["options"] = how.options
    run = parse_run_config(record, f"{path}: {key.label} on {key.data_set}")
    return Cell(key, run, _digest(run, config.calibrations))


def _digest(run: RunConfig, calibrations: tuple[str, ...]) -> str:
    return sha256(json.dumps([run.training_digest(), *calibrations]).encode()).hexdigest()


def _stated_sections(level: _Sections) -> Iterator[tuple[str, Section]]:
    for name in _Sections.model_fields:
        section = getattr(level, name)
        if section:
            yield name, section
