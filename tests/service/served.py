"""A version whose reference histograms have the service's bins, and answers of it."""

from __future__ import annotations

from typing import Any

from tests.service.conftest import draft
from tests.service.ledger.conftest import make_record
from uq4ct.model_store.storage.manifest import Manifest, ReferenceHistograms
from uq4ct.model_store.uncertainty.bins import bin_of
from uq4ct.service.records import PredictionRecord

CONFIDENCE = (0, 0, 0, 0, 0, 1, 2, 2, 3, 2, 2, 2, 2, 2, 2)
FEU = (0,) * 7 + (20,) + (0,) * 7
REFERENCE = ReferenceHistograms(bins=15, questions=20, confidence=CONFIDENCE, feu=FEU, accuracy=0.65, ece=0.1)


def manifest_of(version: int = 3, **changes: Any) -> Manifest:
    """Return the manifest of a version of `toy`."""
    changed = draft("toy").model_copy(update={"reference_histograms": REFERENCE, **changes})
    return Manifest.from_draft(changed, version, {"adapter.safetensors": "0" * 64})


def answer(confidence: float, **changes: Any) -> PredictionRecord:
    """Return an answer of toy@3."""
    return make_record(**{"version": 3, "confidence": confidence, "bin": bin_of(confidence), **changes})
