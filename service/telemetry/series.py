"""The labels of series. Each has few values, known when a model is loaded: never an id, a text or a tenant."""

from __future__ import annotations

from uq4ct.model_store.uncertainty.bins import BINS

MODEL = ("model", "version")
TASK = (*MODEL, "task")
BIN = (*TASK, "bin")
DECISION = (*BIN, "decision")

OTHER_TASK = "other"  # for questions whose task is not in UQ4CT_TASKS
BIN_LABELS = tuple(f"{index:02d}" for index in range(BINS))
DECISIONS = ("answer", "abstain")  # indexed by `abstain` of a record
