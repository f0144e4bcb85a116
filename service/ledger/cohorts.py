"""The cohorts of a window, and the manifests of their model versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.calibration import Cohort, score_cohorts
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.monitor import read_tests
from uq4ct.service.ledger.queries import CohortCount, Window, count_cohorts, scored_predictions
from uq4ct.service.ledger.sequential import RunningTest

Version = tuple[str, int]


@dataclass(frozen=True, slots=True)
class LiveCalibration:
    """A cohort per model version that answered in a window, and the alarms of all versions, the latest first."""

    cohorts: list[Cohort]
    alarms: list[RunningTest]


def read_calibration(database: Database, window: Window, versions: int | None = None) -> LiveCalibration:
    """Return the calibration of a window; its model restricts the cohorts alone; raises LedgerUnavailableError.

    With `versions`, only that many versions are scored, those with the most predictions.
    """
    counts, scored = count_cohorts(database, window), scored_predictions(database, window)
    counts = _most_used(counts, versions)
    tests = read_tests(database, window.tenant)
    return LiveCalibration(score_cohorts(counts, scored, tests), alarms_of(tests))


def alarms_of(tests: Sequence[RunningTest]) -> list[RunningTest]:
    """Return the tests that have raised an alarm, the latest first."""
    raised = [(test.alarmed_ms, test) for test in tests if test.alarmed_ms is not None]
    return [test for _, test in sorted(raised, key=lambda pair: pair[0], reverse=True)]


def _most_used(counts: list[CohortCount], versions: int | None) -> list[CohortCount]:
    """Return the versions with the most predictions, in order of name and version."""
    most = sorted(counts, key=lambda count: count.predictions, reverse=True)[:versions]
    return sorted(most, key=lambda count: (count.model, count.version))


def read_manifests(adapters: Registry, cohorts: Sequence[Cohort]) -> dict[Version, Manifest]:
    """Return the manifests of the cohorts' versions, except missing or damaged ones, which GET /models shows."""
    manifests: dict[Version, Manifest] = {}
    for cohort in cohorts:
        version = (cohort.count.model, cohort.count.version)
        try:
            manifests[version] = adapters.manifest("{}@{}".format(*version))
        except (StoreError, OSError):
            continue
    return manifests
