"""The record beside the weights: everything needed to load an adapter, judge it and trace it to its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field, FiniteFloat, JsonValue, ValidationError, field_validator, model_validator

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.identity import BaseIdentity, DtypeName, LayoutName
from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.decisions import Decisions
from uq4ct.model_store.frozen import Frozen, NonNegative, Share, complaints
from uq4ct.model_store.posteriors import PosteriorConfig
from uq4ct.model_store.scoring.config import ScoringConfig
from uq4ct.model_store.storage.errors import InvalidManifestError, NewerFormatError
from uq4ct.model_store.storage.references import NAME_PATTERN
from uq4ct.model_store.strict_json import JsonError, parse_json

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
DIGEST_FILE = "manifest.sha256"
ADAPTER_FILE = "adapter.safetensors"
FILE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

Count = Annotated[int, Field(ge=0)]
FileName = Annotated[str, Field(pattern=FILE_PATTERN)]
HexDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Interval(Frozen):
    """An interval of one score."""

    low: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def _check(self) -> Interval:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Scores(Frozen):
    """An adapter's scores on its test split, with 95 % intervals over questions."""

    questions: int = Field(ge=1)
    accuracy: Share
    accuracy_interval: Interval
    ece: Share = Field(description="expected calibration error of the confidence")
    ece_noise_floor: Share = Field(description="mean ECE of a perfectly calibrated model with these confidences")
    ece_noise_floor_p95: Share
    rms_calibration_error: Share = Field(description="root of the debiased squared calibration error; 0 if negative")
    rms_calibration_error_interval: Interval
    nll: NonNegative = Field(description="nats per question")
    nll_interval: Interval
    brier: NonNegative = Field(description="sum over the options, so between 0 and 2")
    brier_interval: Interval
    auroc_confidence: Share | None = Field(description="None where all answers are right or all are wrong")
    auroc_feu: Share | None
    # `ece_feu` and `mean_feu` have no upper bound: a sum of fp32 routing masses may exceed 1 by a rounding error.
    ece_feu: NonNegative | None
    auroc_epistemic: Share | None = Field(description="of minus the mutual information; None for one sample")
    auroc_error_score: Share | None = Field(description="of minus the error score; None where there is none")
    mean_feu: NonNegative | None
    area_under_risk_coverage: Share


class ReferenceHistograms(Frozen):
    """Counts on the calibration split in equal bins of [0, 1], for comparison with traffic."""

    bins: int = Field(default=15, ge=1)
    questions: int = Field(ge=1)
    confidence: tuple[Count, ...]
    feu: tuple[Count, ...] | None
    accuracy: Share
    ece: Share

    @model_validator(mode="after")
    def _check(self) -> ReferenceHistograms:
        for field, counts in (("confidence", self.confidence), ("feu", self.feu)):
            if counts is None:
                continue
            if len(counts) != self.bins:
                raise ValueError(f"{field} has {len(counts)} counts for {self.bins} bins")
            if sum(counts) != self.questions:
                raise ValueError(f"{field} counts {sum(counts)} questions, but questions is {self.questions}")
        return self


class ReferenceCurve(Frozen):
    """The effect of abstention at each threshold on the calibration split, with the adapter's calibrated answers."""

    questions: int = Field(ge=1)
    thresholds: tuple[Share, ...] = Field(min_length=1, description="of the confidence, ascending")
    answered: tuple[Count, ...] = Field(description="questions whose confidence is at least the threshold")
    wrong: tuple[Count, ...] = Field(description="the wrong ones among them")

    @model_validator(mode="after")
    def _check(self) -> ReferenceCurve:
        for field, counts in (("answered", self.answered), ("wrong", self.wrong)):
            if len(counts) != len(self.thresholds):
                raise ValueError(f"{field} has {len(counts)} counts for {len(self.thresholds)} thresholds")
            if list(counts) != sorted(counts, reverse=True):
                raise ValueError(f"{field} grows with the threshold")
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError("thresholds are not in ascending order")
        if self.answered[0] > self.questions:
            raise ValueError(f"answered counts {self.answered[0]} questions, but questions is {self.questions}")
        for threshold, answered, wrong in zip(self.thresholds, self.answered, self.wrong, strict=True):
            if wrong > answered:
                raise ValueError(f"wrong counts {wrong} of {answered} answered at the threshold {threshold}")
        return self


class BatchCompany(Frozen):
    """How far an answer depends on the questions that share its batch, measured in one dtype."""

    dtype: DtypeName
    questions: int = Field(ge=1)
    largest_probability_change: Share
    changed_option_share: Share


class Splits(Frozen):
    """Number of questions in each of the disjoint splits."""

    train: Count
    fit: Count
    guarantee: Count
    test: Count


class Provenance(Frozen):
    """The run that made the adapter."""

    recipe: dict[str, JsonValue] = Field(description="every setting of the run")
    code_commit: str | None = Field(description="None outside a checkout")
    seed: int
    splits: Splits
    data_digest: str = Field(min_length=1)


class _Description(Frozen):
    """Abstract: the fields that a training run provides, shared by the draft and the stored record."""

    name: str = Field(pattern=NAME_PATTERN)
    method: str = Field(min_length=1)
    dtype: DtypeName = Field(description="dtype the adapter was trained and scored in")
    base: BaseIdentity
    layout: LayoutName = Field(description="how the base model read several questions when the adapter was scored")
    adapter: AdapterConfig
    scoring: ScoringConfig
    posterior: PosteriorConfig
    calibration: Calibration
    scores_before: Scores | None = Field(description="test split, before calibration")
    scores_after: Scores = Field(description="test split, as the adapter answers")
    scores_untrained: Scores | None = Field(description="test split, base model without the adapter")
    reference_histograms: ReferenceHistograms
    reference_curve: ReferenceCurve
    decisions: Decisions
    batch_company: BatchCompany
    provenance: Provenance


class ManifestDraft(_Description):
    """The record that a training run provides; the registry adds the fields that storing decides."""


class Manifest(_Description):
    """The record of one stored version."""

    format_version: int = Field(ge=1)
    version: int = Field(ge=1)
    created_at: AwareDatetime = Field(description="UTC")
    files: dict[FileName, HexDigest] = Field(description="SHA-256 of every file except the manifest and its digest")

    @field_validator("created_at")
    @classmethod
    def _check_utc(cls, created_at: datetime) -> datetime:
        if created_at.utcoffset() != timedelta(0):
            raise ValueError(f"{created_at.isoformat()} is not in UTC")
        return created_at

    @field_validator("files")
    @classmethod
    def _check_files(cls, files: dict[str, str]) -> dict[str, str]:
        if ADAPTER_FILE not in files:
            raise ValueError(f"{ADAPTER_FILE} is missing from {sorted(files)}")
        own = sorted({MANIFEST_FILE, DIGEST_FILE} & set(files))
        if own:
            raise ValueError(f"{own[0]} must not be listed in a manifest")
        return files

    @classmethod
    def from_draft(cls, draft: ManifestDraft, version: int, files: Mapping[str, str]) -> Manifest:
        """Complete a draft with the current format and the current time."""
        return cls(
            **dict(draft), format_version=FORMAT_VERSION, version=version, created_at=datetime.now(UTC), files={**files}
        )

    @property
    def reference(self) -> str:
        """The reference to exactly this version, `name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def adapter_digest(self) -> str:
        """The digest of the weights, `sha256:<64 hex digits>`."""
        return f"sha256:{self.files[ADAPTER_FILE]}"

    def to_json(self) -> bytes:
        """The content of `manifest.json`; `parse_manifest` reads it back without loss."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def parse_manifest(data: bytes, path: Path) -> Manifest:
    """Read the content of a `manifest.json`; `path` is named in errors.

    Raises:
        NewerFormatError: the format is newer than this code; checked before any other field.
        InvalidManifestError: the content is not JSON, or a field is missing, unknown or out of range.
    """
    try:
        record = parse_json(data)
    except JsonError as error:
        raise InvalidManifestError(path, f"is not JSON: {error}") from error
    found = record.get("format_version") if isinstance(record, dict) else None
    if type(found) is not int or found < 1:
        raise InvalidManifestError(path, f"format_version must be a whole number from 1, not {found!r}")
    if found > FORMAT_VERSION:
        raise NewerFormatError(path, found, FORMAT_VERSION)
    try:
        manifest = Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise InvalidManifestError(path, f"is not a valid manifest: {'; '.join(complaints(error))}") from error
    # If a manifest could omit a field, changing the code's default would change what old adapters do.
    stated = dict(_leaves("manifest", record))
    unstated = [field for field, _ in _leaves("manifest", parse_json(manifest.to_json())) if field not in stated]
    if unstated:
        raise InvalidManifestError(path, f"is not a valid manifest: {unstated[0]} is missing")
    return manifest


def _leaves(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(f"{path}.{index}", item)
    else:
        yield path, value
