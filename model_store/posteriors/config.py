"""What a stored adapter's posterior over weights is; one class a kind, told apart by `kind`."""

from __future__ import annotations

from typing import Literal

from model_store.frozen import Frozen


class PointConfig(Frozen):
    """One set of weights: a deterministic answer in one pass."""

    kind: Literal["point"] = "point"


PosteriorConfig = PointConfig
