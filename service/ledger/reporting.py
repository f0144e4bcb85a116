"""A calibration report: the cohorts of the ledger beside what the model store says of their versions."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.calibration import Cohort, score_cohorts
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.monitor import read_tests
from uq4ct.service.ledger.queries import COUNTED, SCORED, Window, count_cohorts, scored_predictions
from uq4ct.service.schemas.calibration import CalibrationReport, CohortView

Version = tuple[str, int]


def read_cohorts(database: Database, window: Window) -> list[Cohort]:
    """What the ledger knows of each model version that answered in a window; raises LedgerUnavailableError."""
    counts, scored = count_cohorts(database, window), scored_predictions(database, window)
    return score_cohorts(counts, scored, read_tests(database))


def read_manifests(adapters: Registry, cohorts: Sequence[Cohort]) -> dict[Version, Manifest]:
    """The manifests of the cohorts' versions; one that is gone, or damaged, which GET /models shows, is left out."""
    manifests: dict[Version, Manifest] = {}
    for cohort in cohorts:
        version = (cohort.count.model, cohort.count.version)
        try:
            manifests[version] = adapters.manifest("{}@{}".format(*version))
        except (StoreError, OSError):
            continue
    return manifests


def show_report(
    since: datetime.datetime,
    until: datetime.datetime,
    cohorts: Sequence[Cohort],
    manifests: Mapping[Version, Manifest],
) -> CalibrationReport:
    """Everything that is known of the cohorts of a window."""
    return CalibrationReport(
        since=since,
        until=until,
        counted_limit=COUNTED,
        scored_limit=SCORED,
        models=[
            CohortView.from_cohort(cohort, manifests.get((cohort.count.model, cohort.count.version)))
            for cohort in cohorts
        ],
    )
