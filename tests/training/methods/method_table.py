"""Recipe sections with which a method is tested, by its name, where they differ from those of a tiny run."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "mc_dropout": {"options": {"samples": 4}},
    "ensemble": {"options": {"members": 3}, "loss": {"l2": 0.001}},
    "checkpoint_ensemble": {"training": {"snapshots": 4}, "options": {"first_snapshot": 2}},
    # Draws multiply rounding differences of a batch by their spread, which marglik makes wide on so few questions.
    "laplace": {"options": {"samples": 200, "prior_precision": 1000}},
    "adue": {"options": {"epochs": 10}},
    "sparse_lora": {"options": {"samples": 4}},
    "blob": {"options": {"samples": 4}},
    # On so few questions a longer search would accept so much noise that nothing learnt remains.
    "tfb": {"options": {"samples": 4, "steps": 2}},
}
