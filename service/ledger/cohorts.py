"""The cohorts of a window, and the manifests of their model versions."""

from __future__ import annotations

from collections.abc import Sequence

from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.calibration import Cohort, score_cohorts
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.monitor import read_tests
from uq4ct.service.ledger.queries import Window, count_cohorts, scored_predictions

Version = tuple[str, int]


def read_cohorts(database: Database, window: Window) -> list[Cohort]:
    """Return a cohort per model version that answered in a window; raises LedgerUnavailableError."""
    counts, scored = count_cohorts(database, window), scored_predictions(database, window)
    return score_cohorts(counts, scored, read_tests(database, window.tenant))


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
