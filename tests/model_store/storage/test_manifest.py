from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tests.manifests import make_draft, make_provenance, make_scores
from uq4ct import model_store
from uq4ct.model_store import calibrations as calibrations_module
from uq4ct.model_store import decisions as decisions_module
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.calibrations import (
    Calibration,
    FeuTemperatureCalibration,
    IsotonicCalibration,
    NoCalibration,
    PlattCalibration,
    TemperatureCalibration,
)
from uq4ct.model_store.posteriors import PosteriorConfig
from uq4ct.model_store.posteriors.adue import AdueConfig
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.model_store.posteriors.ensemble import EnsembleConfig
from uq4ct.model_store.posteriors.laplace import LaplaceConfig
from uq4ct.model_store.posteriors.mahalanobis import MahalanobisConfig
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.model_store.posteriors.rank_mask import RankMaskConfig
from uq4ct.model_store.posteriors.weight_gaussian import GaussianConfig
from uq4ct.model_store.scoring.config import LetterConfig
from uq4ct.model_store.storage import manifest as manifest_module
from uq4ct.model_store.storage.errors import InvalidManifestError, NewerFormatError
from uq4ct.model_store.storage.manifest import (
    ADAPTER_FILE,
    FORMAT_VERSION,
    Interval,
    Manifest,
    ManifestDraft,
    ReferenceCurve,
    ReferenceHistograms,
    Scores,
    Splits,
    parse_manifest,
)

PATH = Path("facts/3/manifest.json")
FILES = {ADAPTER_FILE: "cd" * 32}

finite = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0, 1)
non_negative = st.floats(0, allow_nan=False, allow_infinity=False)
intervals = st.tuples(finite, finite).map(lambda ends: Interval(low=min(ends), high=max(ends)))
all_scores = st.builds(
    Scores,
    questions=st.integers(1, 2**40),
    accuracy=shares,
    accuracy_interval=intervals,
    ece=shares,
    ece_noise_floor=shares,
    ece_noise_floor_p95=shares,
    rms_calibration_error=shares,
    rms_calibration_error_interval=intervals,
    nll=non_negative,
    nll_interval=intervals,
    brier=non_negative,
    brier_interval=intervals,
    auroc_confidence=st.none() | shares,
    auroc_feu=st.none() | shares,
    auroc_epistemic=st.none() | shares,
    auroc_error_score=st.none() | shares,
    ece_feu=st.none() | non_negative,
    mean_feu=st.none() | non_negative,
    area_under_risk_coverage=shares,
)
positive = st.floats(0, exclude_min=True, allow_infinity=False)
fitted = {
    "questions": st.integers(1, 10_000),
    "nll_before": non_negative,
    "nll_after": non_negative,
    "at_bound": st.booleans(),
}
calibrations = st.one_of(
    st.just(NoCalibration()),
    st.builds(TemperatureCalibration, value=positive, **fitted),
    st.builds(
        FeuTemperatureCalibration,
        level=finite,
        feu_slope=non_negative,
        options_slope=finite,
        feu_center=finite,
        **fitted,
    ),
    st.builds(PlattCalibration, slope=positive, intercept=finite, **fitted),
    st.builds(IsotonicCalibration, knots=st.just((0.0, 0.4, 1.0)), values=st.just((0.1, 0.1, 0.8)), **fitted),
)
posteriors = st.one_of(
    st.just(PointConfig()),
    st.builds(
        DropoutConfig,
        samples=st.integers(1, 1000),
        share=st.floats(0, 1, exclude_min=True, exclude_max=True),
        seed=st.integers(0, 2**40),
    ),
    st.builds(EnsembleConfig, samples=st.integers(2, 100)),
    st.builds(RankMaskConfig, samples=st.integers(1, 1000), seed=st.integers(0, 2**40)),
    st.builds(GaussianConfig, samples=st.integers(1, 1000), seed=st.integers(0, 2**40)),
    st.builds(
        LaplaceConfig,
        samples=st.integers(1, 1000).map(lambda pairs: 2 * pairs),
        prior_precision=positive,
        options=st.integers(2, 26),
        seed=st.integers(0, 2**40),
    ),
    st.builds(MahalanobisConfig, shrinkage=shares),
    st.builds(AdueConfig, sharpness=positive, slope=non_negative, intercept=finite),
)
recipes = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | finite | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def _values(manifest: Manifest) -> str:
    """Every stored value to the last bit and type: 1 is not 1.0 here and 0.0 is not -0.0, as they are for ==."""
    return repr(manifest.model_dump(exclude={"created_at"}))


@settings(deadline=None, max_examples=60)
@given(
    before=st.none() | all_scores,
    after=all_scores,
    calibration=calibrations,
    posterior=posteriors,
    recipe=recipes,
)
def test_json_round_trip_is_lossless(
    before: Scores | None,
    after: Scores,
    calibration: Any,
    posterior: Any,
    recipe: dict[str, Any],
) -> None:
    provenance = make_provenance(recipe=recipe, seed=-3, splits=Splits(train=0, fit=1, guarantee=2, test=3))
    draft = make_draft(
        scores_before=before,
        scores_after=after,
        calibration=calibration,
        posterior=posterior,
        provenance=provenance,
    )
    manifest = Manifest.from_draft(draft, 3, FILES)
    read = parse_manifest(manifest.to_json(), PATH)
    assert read == manifest
    assert _values(read) == _values(manifest)


def test_a_draft_is_completed_and_not_changed() -> None:
    draft = make_draft("facts")
    start = datetime.now(UTC)
    manifest = Manifest.from_draft(draft, 12, FILES)
    assert start <= manifest.created_at <= datetime.now(UTC)
    assert manifest.reference == "facts@12"
    assert manifest.adapter_digest == "sha256:" + "cd" * 32
    assert manifest.format_version == FORMAT_VERSION
    assert ManifestDraft(**{field: getattr(manifest, field) for field in ManifestDraft.model_fields}) == draft


def test_a_newer_format_says_upgrade_before_any_other_field_is_looked_at() -> None:
    record = {"format_version": FORMAT_VERSION + 6, "adapter": {"kind": "of another age"}}
    with pytest.raises(NewerFormatError, match=rf"manifest\.json: has format {FORMAT_VERSION + 6}, but ") as caught:
        parse_manifest(json.dumps(record).encode(), PATH)
    assert f"up to {FORMAT_VERSION}; upgrade" in str(caught.value)
    assert (caught.value.found, caught.value.supported) == (FORMAT_VERSION + 6, FORMAT_VERSION)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[1]", b"{}", b'{"format_version": "1"}', b"null"])
def test_what_is_no_manifest_is_named(data: bytes) -> None:
    with pytest.raises(InvalidManifestError, match=r"manifest\.json: (is not JSON|format_version must be)"):
        parse_manifest(data, PATH)


@pytest.mark.parametrize("format_version", [0, -1, 1.0, True, None])
def test_a_format_version_is_a_whole_number_from_1(format_version: object) -> None:
    record = json.loads(Manifest.from_draft(make_draft(), 1, FILES).to_json())
    with pytest.raises(InvalidManifestError, match=re.escape(f"not {format_version!r}")):
        parse_manifest(json.dumps({**record, "format_version": format_version}).encode(), PATH)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Facts"),
        ("name", "../facts"),
        ("name", "facts\n"),
        ("version", 0),
        ("created_at", "2026-01-01T00:00:00"),
        ("created_at", "2026-01-01T00:00:00+02:00"),
        ("dtype", "int8"),
        ("files", {}),
        ("files", {ADAPTER_FILE: "CD" * 32}),
        ("files", {ADAPTER_FILE: "cd" * 32, "../outside": "cd" * 32}),
        ("files", {ADAPTER_FILE: "cd" * 32, "manifest.json": "cd" * 32}),
        ("calibration", {"kind": "wishful"}),
        (
            "calibration",
            {"kind": "temperature", "value": 0.0, "questions": 1, "nll_before": 1, "nll_after": 1, "at_bound": False},
        ),
        ("reference_curve", None),
        ("surprise", 1),
    ],
)
def test_a_bad_field_of_a_stored_record_is_named(field: str, value: object) -> None:
    record = json.loads(Manifest.from_draft(make_draft(), 1, FILES).to_json())
    with pytest.raises(InvalidManifestError, match=rf"manifest\.json: is not a valid manifest: {field}"):
        parse_manifest(json.dumps({**record, field: value}).encode(), PATH)


@pytest.mark.parametrize(
    ("record", "field"),
    [("adapter", "rank"), ("adapter", "targets"), ("scoring", "max_tokens"), ("reference_histograms", "bins")],
)
def test_no_field_is_left_to_a_default_of_the_code(record: str, field: str) -> None:
    draft = make_draft(
        adapter=AdapterConfig.model_validate({}),
        scoring=LetterConfig.model_validate({}),
        reference_histograms=ReferenceHistograms(
            questions=1, confidence=(0,) * 14 + (1,), feu=None, accuracy=1.0, ece=0.0
        ),
    )
    stored = json.loads(Manifest.from_draft(draft, 1, FILES).to_json())
    del stored[record][field]
    with pytest.raises(InvalidManifestError, match=rf"manifest\.{record}\.{field}(\.0)? is missing"):
        parse_manifest(json.dumps(stored).encode(), PATH)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accuracy", 1.01),
        ("ece", float("nan")),
        ("nll", float("inf")),
        ("nll", -0.1),
        ("questions", 0),
        ("rms_calibration_error", -0.01),
        ("mean_feu", -0.1),
    ],
)
def test_scores_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=rf"\n{field}\n"):
        make_scores(**{field: value})


def test_an_interval_has_its_ends_in_order() -> None:
    with pytest.raises(ValidationError, match=r"low 0\.6 is above high 0\.5"):
        Interval(low=0.6, high=0.5)


@pytest.mark.parametrize(
    ("confidence", "feu", "message"),
    [
        ((1, 2), None, "confidence has 2 counts for 3 bins"),
        ((1, 2, 3), (0, 6), "feu has 2 counts for 3 bins"),
        ((1, 2, 2), None, "confidence counts 5 questions, but questions is 6"),
        ((1, 2, 3), (1, 1, 1), "feu counts 3 questions, but questions is 6"),
    ],
)
def test_histograms_that_do_not_add_up_are_refused(
    confidence: tuple[int, ...], feu: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        ReferenceHistograms(bins=3, questions=6, confidence=confidence, feu=feu, accuracy=0.5, ece=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answered": (6, 4)}, "answered has 2 counts for 3 thresholds"),
        ({"wrong": (2, 1, 0, 0)}, "wrong has 4 counts for 3 thresholds"),
        ({"answered": (6, 4, 5)}, "answered grows with the threshold"),
        ({"wrong": (1, 2, 0)}, "wrong grows with the threshold"),
        ({"thresholds": (0.0, 0.5, 0.5)}, "thresholds are not in ascending order"),
        ({"answered": (7, 4, 1)}, "answered counts 7 questions, but questions is 6"),
        ({"wrong": (2, 2, 2)}, r"wrong counts 2 of 1 answered at the threshold 1\.0"),
        ({"thresholds": (0.0, 0.5, 1.5)}, "less than or equal to 1"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(changes: dict[str, tuple[float, ...]], message: str) -> None:
    curve = {"thresholds": (0.0, 0.5, 1.0), "answered": (6, 4, 1), "wrong": (2, 1, 0)}
    with pytest.raises(ValidationError, match=message):
        ReferenceCurve.model_validate({"questions": 6, **curve, **changes})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_recipe_that_json_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(
        ValidationError,
        match=r"recipe\.optimizer\.\S*betas\S*\.1\S*\s+Input should be a finite number",
    ):
        make_provenance(recipe={"optimizer": {"betas": [0.9, value]}})


def test_created_at_is_utc_to_the_microsecond() -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
    manifest = Manifest(**dict(make_draft()), format_version=1, version=1, created_at=moment, files=FILES)
    assert parse_manifest(manifest.to_json(), PATH).created_at == moment
    assert json.loads(manifest.to_json())["created_at"] == "2026-02-03T04:05:06.789012Z"
    elsewhere = moment.astimezone(timezone(timedelta(hours=1)))
    with pytest.raises(ValidationError, match="is not in UTC"):
        Manifest(**dict(make_draft()), format_version=1, version=1, created_at=elsewhere, files=FILES)


SPECIFICATION = (Path(model_store.__file__).parent / "README.md").read_text()


def records_of(module: ModuleType) -> list[type[BaseModel]]:
    """Return the records that a module defines."""
    found = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, BaseModel)]
    return [record for record in found if record.__module__ == module.__name__]


def kinds_of(union: Any) -> list[type[BaseModel]]:
    """Return the records of a union that is discriminated by `kind`."""
    return list(get_args(get_args(union)[0]))


def test_the_format_specification_describes_every_field() -> None:
    records = records_of(manifest_module)
    assert len(records) >= 10
    fitted_later = [*records_of(calibrations_module), *records_of(decisions_module)]
    for record in [*records, *fitted_later, *kinds_of(PosteriorConfig)]:
        for field in record.model_fields:
            assert f"`{field}`" in SPECIFICATION, f"{record.__name__}.{field} is not in the format specification"


@pytest.mark.parametrize(("title", "union"), [("posterior", PosteriorConfig), ("calibration", Calibration)])
def test_the_format_specification_has_a_part_for_every_kind(title: str, union: Any) -> None:
    """Its rows are those from the kind's name to the next one's, and name the fields; shared rows are at the end."""
    section = SPECIFICATION.partition(f"\n**`{title}`**")[2].partition("\n**")[0]
    _, *parts = re.split(r"^\| (?=`|all)", section, flags=re.MULTILINE)
    rows = {part.partition(" |")[0].strip("`"): part for part in parts}
    shared = rows.pop("all but `none", "")
    assert set(rows) == {record.model_fields["kind"].default for record in kinds_of(union)}
    for record in kinds_of(union):
        kind = record.model_fields["kind"].default
        for field in set(record.model_fields) - {"kind"}:
            assert f"`{field}`" in rows[kind] + shared, f"{title} of kind {kind}: {field}"


def test_the_format_specification_is_of_the_present_format() -> None:
    assert f"**format {FORMAT_VERSION}**" in SPECIFICATION
