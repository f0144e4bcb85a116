"""Valid records of an adapter to publish, for every test that needs one; single fields may differ."""

from __future__ import annotations

from typing import Any

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.identity import BaseIdentity
from uq4ct.model_store.calibrations import TemperatureCalibration
from uq4ct.model_store.decisions import Decisions
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.manifest import (
    BatchCompany,
    Interval,
    ManifestDraft,
    Provenance,
    ReferenceCurve,
    ReferenceHistograms,
    Scores,
    Splits,
)

TINY_BASE = BaseIdentity(name="tiny", revision=None, digest="sha256:" + "0f" * 32, model_type="llama")


def make_scores(**changes: Any) -> Scores:
    """Scores of an adapter with routers, with the given fields changed."""
    fields: dict[str, Any] = {
        "questions": 40,
        "accuracy": 0.7,
        "accuracy_interval": Interval(low=0.55, high=0.85),
        "ece": 0.08,
        "ece_noise_floor": 0.07,
        "ece_noise_floor_p95": 0.12,
        "rms_calibration_error": 0.04,
        "rms_calibration_error_interval": Interval(low=0.0, high=0.1),
        "nll": 0.81,
        "nll_interval": Interval(low=0.6, high=1.1),
        "brier": 0.41,
        "brier_interval": Interval(low=0.3, high=0.52),
        "auroc_confidence": 0.77,
        "auroc_feu": 0.61,
        "auroc_epistemic": None,
        "auroc_error_score": 0.7,
        "ece_feu": 0.2,
        "mean_feu": 1.0000001,
        "area_under_risk_coverage": 0.15,
    }
    return Scores(**{**fields, **changes})


def make_provenance(**changes: Any) -> Provenance:
    """Provenance of an adapter, with the given fields changed."""
    fields: dict[str, Any] = {
        "recipe": {"method": "uq4ct", "learning_rate": 2e-4, "betas": [0.9, 0.999], "warmup": None},
        "code_commit": "e1d91e9",
        "seed": 7,
        "splits": Splits(train=100, fit=10, guarantee=10, test=40),
        "data_digest": "sha256:" + "ab" * 32,
    }
    return Provenance(**{**fields, **changes})


def make_draft(name: str = "facts", **changes: Any) -> ManifestDraft:
    """A draft without decisions, on a base that does not exist, with the given fields changed."""
    fields: dict[str, Any] = {
        "method": "uq4ct",
        "dtype": "float32",
        "base": TINY_BASE,
        "layout": "packed",
        "adapter": AdapterConfig(experts=4, top_k=2, rank=2, alpha=4.0, dropout=0.1, targets=("q_proj", "v_proj")),
        "scoring": ClozeConfig(reduction="sum", max_tokens=128),
        "posterior": PointConfig(),
        "calibration": TemperatureCalibration(value=1.3, questions=20, nll_before=0.9, nll_after=0.8, at_bound=False),
        "scores_before": make_scores(nll=0.9),
        "scores_after": make_scores(),
        "scores_untrained": None,
        "reference_histograms": ReferenceHistograms(
            bins=3, questions=20, confidence=(2, 6, 12), feu=(0, 11, 9), accuracy=0.65, ece=0.1
        ),
        "reference_curve": ReferenceCurve(
            questions=20, thresholds=(0.0, 0.5, 1.0), answered=(20, 18, 3), wrong=(7, 5, 0)
        ),
        "decisions": Decisions(sets=None, abstention=None, tested=None),
        "batch_company": BatchCompany(
            dtype="float32", questions=16, largest_probability_change=1e-7, changed_option_share=0.0
        ),
        "provenance": make_provenance(),
    }
    return ManifestDraft(name=name, **{**fields, **changes})
