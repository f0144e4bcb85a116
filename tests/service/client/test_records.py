"""The client needs nothing else of the project, and its records match the service's responses."""

from __future__ import annotations

import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from uq4ct.service.client import calibration_records
from uq4ct.service.client import records as client_records
from uq4ct.service.client.record import Record
from uq4ct.service.schemas import calibration as calibration_schemas
from uq4ct.service.schemas import common as common_schemas
from uq4ct.service.schemas import feedback as feedback_schemas
from uq4ct.service.schemas import models as model_schemas
from uq4ct.service.schemas import predict as schemas

ROOT = Path(__file__).parents[3]


def test_the_client_needs_only_httpx_and_pydantic() -> None:
    code = "import sys, uq4ct.client; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"httpx2", "pydantic", "uq4ct"} <= loaded
    unwanted = {
        "torch",
        "numpy",
        "pandas",
        "polars",
        "tqdm",
        "transformers",
        "fastapi",
        "starlette",
        "prometheus_client",
    }
    assert not loaded & unwanted


PAIRS: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (client_records.AnswerRecord, schemas.AnswerBody),
    (client_records.Prediction, schemas.PredictResponse),
    (client_records.Option, schemas.Option),
    (client_records.LabelProbability, schemas.LabelProbability),
    (client_records.Uncertainty, schemas.Uncertainty),
    (client_records.Problem, common_schemas.Problem),
    (client_records.FieldError, common_schemas.FieldError),
    (client_records.Base, model_schemas.Base),
    (client_records.ModelSummary, model_schemas.ModelSummary),
    (client_records.ModelCard, model_schemas.ModelCard),
    (client_records.DamagedModel, model_schemas.DamagedModel),
    (client_records.ModelList, model_schemas.ModelList),
    (client_records.FeedbackReceipt, feedback_schemas.FeedbackResponse),
    (client_records.OptionPosition, schemas.OptionPosition),
    (client_records.StoredLabel, feedback_schemas.StoredLabel),
    (client_records.StoredPrediction, feedback_schemas.PredictionView),
    (client_records.PredictionPage, feedback_schemas.PredictionList),
    (calibration_records.CalibrationBin, calibration_schemas.CalibrationBin),
    (calibration_records.Interval, calibration_schemas.Range),
    (calibration_records.NoiseFloor, calibration_schemas.Floor),
    (calibration_records.LabelledScores, calibration_schemas.LabelledView),
    (calibration_records.CurvePoint, calibration_schemas.CurvePoint),
    (calibration_records.LabelDelay, calibration_schemas.DelayView),
    (calibration_records.ReferenceAbstention, calibration_schemas.AbstentionView),
    (calibration_records.Reference, calibration_schemas.ReferenceView),
    (calibration_records.SequentialTest, calibration_schemas.SequentialView),
    (calibration_records.Alarm, calibration_schemas.AlarmView),
    (calibration_records.Verdict, calibration_schemas.VerdictView),
    (calibration_records.CalibrationCohort, calibration_schemas.CohortView),
    (calibration_records.Calibration, calibration_schemas.CalibrationReport),
]


def plain(annotation: Any) -> Any:
    """Reduce a type: drop constraints, map the service's records to the client's, or to dict if it has none."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return plain(arguments[0])
    if origin in (typing.Union, types.UnionType):
        kinds = frozenset(plain(argument) for argument in arguments)
        return kinds if len(kinds) > 1 else next(iter(kinds))
    if origin is list:
        return ("list", plain(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return next((ours for ours, theirs in PAIRS if annotation in (ours, theirs)), dict)
    return origin or annotation


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_client_reads_what_the_service_sends(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    read = {name: plain(field.annotation) for name, field in ours.model_fields.items()}
    sent = {name: plain(field.annotation) for name, field in theirs.model_fields.items()}
    assert read == sent


def test_every_record_of_the_client_is_one_of_the_service() -> None:
    records = {
        value
        for value in (*vars(client_records).values(), *vars(calibration_records).values())
        if isinstance(value, type) and issubclass(value, Record) and value is not Record
    }
    assert {record.__name__ for record in records} == {ours.__name__ for ours, _ in PAIRS}
