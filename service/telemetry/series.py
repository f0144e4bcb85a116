"""The labels that series have. Each takes few values, which are known on load: never an id, a text or a tenant."""

from __future__ import annotations

from uq4ct.model_store.uncertainty.calibration_error import BINS

MODEL = ("model", "version")
TASK = (*MODEL, "task")
BIN = (*TASK, "bin")
DECISION = (*BIN, "decision")

OTHER_TASK = "other"  # of questions whose task is none of the setting UQ4CT_TASKS
BIN_LABELS = tuple(f"{index:02d}" for index in range(BINS))
DECISIONS = ("answer", "abstain")  # as `abstain` of a record is false or true
