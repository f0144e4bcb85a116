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

from uq4ct.service.client import records as client_records
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
    assert not loaded & {"torch", "numpy", "transformers", "fastapi", "starlette", "prometheus_client"}


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
    (client_records.CalibrationBin, calibration_schemas.CalibrationBin),
    (client_records.Interval, calibration_schemas.Range),
    (client_records.NoiseFloor, calibration_schemas.Floor),
    (client_records.LabelledScores, calibration_schemas.LabelledView),
    (client_records.CurvePoint, calibration_schemas.CurvePoint),
    (client_records.LabelDelay, calibration_schemas.DelayView),
    (client_records.ReferenceAbstention, calibration_schemas.AbstentionView),
    (client_records.Reference, calibration_schemas.ReferenceView),
    (client_records.SequentialTest, calibration_schemas.SequentialView),
    (client_records.Alarm, calibration_schemas.AlarmView),
    (client_records.Verdict, calibration_schemas.VerdictView),
    (client_records.CalibrationCohort, calibration_schemas.CohortView),
    (client_records.Calibration, calibration_schemas.CalibrationReport),
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
        for value in vars(client_records).values()
        if isinstance(value, type) and issubclass(value, client_records.Record) and value is not client_records.Record
    }
    assert {record.__name__ for record in records} == {ours.__name__ for ours, _ in PAIRS}
