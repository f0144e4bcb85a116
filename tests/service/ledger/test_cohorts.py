"""The counts and scores of a window against the same in plain Python, over random rows, for every restriction."""

from __future__ import annotations

import math
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import product

import pytest
from sqlalchemy import event

from tests.service.ledger.conftest import insert, insert_label, label_row, make_record
from uq4ct.model_store.uncertainty.bins import BINS, bin_of
from uq4ct.service.ids import LONGEST_LEAD_MS
from uq4ct.service.ledger import queries
from uq4ct.service.ledger.calibration import score_cohorts
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.queries import CohortCount, Scored, Window, count_cohorts, scored_predictions
from uq4ct.service.ledger.sequential import TESTS, RunningTest
from uq4ct.service.ledger.tables import labels
from uq4ct.service.records import PredictionRecord

START = 1_700_000_000_000
SPAN = 400  # milliseconds, so that many predictions share one
Labelled = dict[str, tuple[bool, int]]  # of the id of a prediction: whether it was right, when the label came


def draw_rows(seed: int, number: int) -> tuple[list[PredictionRecord], Labelled]:
    """Return predictions of a few tenants and versions, some of them rare, and the labels of some."""
    draw = random.Random(seed)
    records = []
    for _ in range(number):
        low = 7 << 76 | 2 << 62 | draw.getrandbits(60)
        confidence = draw.choice([0.0, 0.2, 1 / 3, 0.6, 1.0, draw.random()])
        record = make_record(
            prediction_id=str(uuid.UUID(int=(START + draw.randrange(SPAN)) << 80 | low)),
            tenant=draw.choices(["a", "b", "aa", "A"], [50, 40, 5, 1])[0],
            model=draw.choices(["toy", "toy-2", "other"], [50, 5, 30])[0],
            version=draw.choices([1, 2, 3, 10], [40, 40, 3, 10])[0],
            confidence=confidence,
            bin=bin_of(confidence),
            feu=draw.choice([None, 0.0, 1.0, draw.random()]),
            abstain=draw.random() < 0.3,
        )
        records.append(record)
    labelled = {
        record.prediction_id: (draw.random() < 0.7, START + draw.randrange(10_000))
        for record in records
        if draw.random() < (0.02 if record.version == 2 else 0.6)
    }
    return records, labelled


def newest(records: Sequence[PredictionRecord], window: Window) -> list[PredictionRecord]:
    """Return the predictions of a window, newest first."""
    return sorted(
        (
            record
            for record in records
            if window.since_ms <= record.created_ms <= window.until_ms + LONGEST_LEAD_MS
            and window.tenant in (None, record.tenant)
            and window.model in (None, record.model)
            and window.version in (None, record.version)
        ),
        key=lambda record: uuid.UUID(record.prediction_id).int,
        reverse=True,
    )


def count(records: Sequence[PredictionRecord], labelled: Labelled) -> list[CohortCount]:
    """Return the counts of each version, without SQL."""
    counts = []
    for model, version in sorted({(record.model, record.version) for record in records}):
        own = [record for record in records if (record.model, record.version) == (model, version)]
        by_confidence = Counter(record.bin for record in own)
        by_feu = Counter(bin_of(record.feu) for record in own if record.feu is not None)
        counts.append(
            CohortCount(
                model=model,
                version=version,
                predictions=len(own),
                answered=sum(not record.abstain for record in own),
                labelled=sum(record.prediction_id in labelled for record in own),
                confidence_sum=math.fsum(record.confidence for record in own),
                by_confidence=tuple(by_confidence[index] for index in range(BINS)),
                by_feu=tuple(by_feu[index] for index in range(BINS)) if by_feu else None,
            )
        )
    return counts


def score(records: Sequence[PredictionRecord], labelled: Labelled) -> list[Scored]:
    """Return the labelled predictions of the same order."""
    return [
        Scored(
            record.model,
            record.version,
            record.created_ms,
            labelled[record.prediction_id][1],
            record.confidence,
            record.abstain,
            labelled[record.prediction_id][0],
        )
        for record in records
        if record.prediction_id in labelled
    ]


@pytest.mark.parametrize("limits", [(200_000, 20_000), (60, 15), (1, 1)])
def test_every_window_counts_and_scores_what_python_does(
    database: Database, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]
) -> None:
    counted, scored = limits
    monkeypatch.setattr(queries, "COUNTED", counted)
    monkeypatch.setattr(queries, "SCORED", scored)
    records, labelled = draw_rows(seed=counted, number=300)
    insert(database, *records)
    rows = [
        label_row(record, record.option if right else 1 - record.option, labelled_ms)
        for record in records
        if record.prediction_id in labelled
        for right, labelled_ms in [labelled[record.prediction_id]]
    ]
    with database.transaction() as connection:
        connection.execute(database.insert_new(labels), rows)
    of_model = [(None, None), ("toy", None), ("toy", 1), ("toy", 2), ("toy", 3), ("toy-2", None), ("toy", 4)]
    times = [(0, START + SPAN), (START + 100, START + 250 - LONGEST_LEAD_MS), (START + SPAN, START + 10 * SPAN)]
    every = list(product(times, (None, "a", "aa", "A", "c"), of_model))
    for (since, until), tenant, (model, version) in random.Random(scored).sample(every, 40):
        window = Window(since, until, tenant, model, version)
        expected = newest(records, window)
        got = count_cohorts(database, window)
        assert [(one.model, one.version) for one in got] == sorted((one.model, one.version) for one in got)
        for one, other in zip(got, count(expected[:counted], labelled), strict=True):
            assert one.confidence_sum == pytest.approx(other.confidence_sum, rel=1e-12)
            assert one == replace(other, confidence_sum=one.confidence_sum)
        assert scored_predictions(database, window) == score(expected, labelled)[:scored]


def test_predictions_and_labels_are_counted_at_one_moment(database: Database, url: str) -> None:
    """Otherwise a prediction stored and labelled meanwhile has a label that is counted, and is not counted itself."""
    insert(database, make_record())

    late = make_record()

    def meanwhile(*arguments: object) -> None:
        if "FROM predictions" in str(arguments[2]):
            with closing(Database(url)) as other:
                insert(other, late)  # a second time, nothing is stored
                insert_label(other, late, 1)

    event.listen(database.engine, "after_cursor_execute", meanwhile)
    window = Window(0, 2**45, None, None, None)
    (before,) = count_cohorts(database, window)
    (after,) = count_cohorts(database, window)
    assert (before.predictions, before.labelled) == (1, 0)
    assert (after.predictions, after.labelled) == (2, 1)


def test_cohorts_find_their_tests_among_many() -> None:
    """Eight times the versions take about eight times as long; comparing each with each takes 64 times."""

    def seconds(versions: int) -> float:
        counts = [CohortCount("toy", version, 1, 1, 0, 0.5, (0,) * BINS, None) for version in range(versions)]
        tests = [RunningTest(None, "toy", version, name, None, 0) for version in range(versions) for name in TESTS]
        cohorts = score_cohorts(counts, [], tests)
        assert [[test.version for test in cohort.tests] for cohort in cohorts] == [
            [version] * len(TESTS) for version in range(versions)
        ]
        return shortest(lambda: score_cohorts(counts, [], tests))

    assert seconds(4000) < 25 * seconds(500)


def shortest(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)
