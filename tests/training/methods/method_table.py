"""What every method is tested with: the sections of a recipe that differ from a tiny run's, for each name."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "lora": {},
    "mc_dropout": {"options": {"samples": 4}},
    "ensemble": {"options": {"members": 3}, "loss": {"l2": 0.001}},
    "checkpoint_ensemble": {"training": {"snapshots": 4}, "options": {"first_snapshot": 2}},
    # Draws multiply the rounding of a batch by their spread, which marglik makes wide on so few questions.
    "laplace": {"options": {"samples": 200, "prior_precision": 1000}},
    "mahalanobis": {},
    "adue": {"options": {"epochs": 10}},
    "mixlora": {},
    "uq4ct": {},
    "sparse_lora": {"options": {"samples": 4}},
    "blob": {"options": {"samples": 4}},
    # So few questions bear more noise than leaves anything learnt, and a longer search finds it.
    "tfb": {"options": {"samples": 4, "steps": 2}},
}
