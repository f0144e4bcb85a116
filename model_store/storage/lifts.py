"""Older records read as those of today: each lift states the values of the fields that its format did not have."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import JsonValue

Record = dict[str, JsonValue]


def _lift_1(record: Record) -> Record:
    """Format 1 knew no decisions: nothing was abstained from, and no sets were given."""
    return record | {"format_version": 2, "decisions": {"sets": None, "abstention": None, "tested": None}}


def _lift_2(record: Record) -> Record:
    """Format 2 counted no curve."""
    return record | {"format_version": 3, "reference_curve": None}


def _lift_3(record: Record) -> Record:
    """Format 3 knew one sample and no error score."""
    lifted = record | {"format_version": 4}
    for field in ("scores_before", "scores_after", "scores_untrained"):
        scores = record.get(field)
        if isinstance(scores, dict):
            lifted[field] = scores | {"auroc_epistemic": None, "auroc_error_score": None}
    return lifted


LIFTS: dict[int, Callable[[Record], Record]] = {1: _lift_1, 2: _lift_2, 3: _lift_3}  # from N to N + 1
