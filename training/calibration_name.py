"""The names of the calibrations that a recipe or `publish` can ask for. Imports no torch."""

from __future__ import annotations

from typing import Literal

CalibrationName = Literal["none", "temperature", "platt", "isotonic", "feu_temperature"]
