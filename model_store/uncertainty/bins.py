"""The equal bins of a confidence, for code that needs no tensors. Imports no torch."""

from __future__ import annotations

BINS = 15
ROUNDING = 1e-6  # a float32 sum of softmax values may exceed 1 by this; anything further is the caller's error


def bin_of(confidence: float, bins: int = BINS) -> int:
    """Return the bin of one confidence, as `calibration_error.confidence_bin` does, without creating tensors.

    Raises:
        ValueError: the confidence is outside [0, 1] by more than rounding, or NaN.
    """
    if not -ROUNDING <= confidence <= 1 + ROUNDING:
        raise ValueError(f"confidence must lie in [0, 1], not {confidence}")
    return min(int(min(max(confidence, 0.0), 1.0) * bins), bins - 1)
