"""The search for a calibration map's parameters of lowest mean NLL, by L-BFGS in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_ITERATIONS = 200


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Return the parameters that minimise a smooth `loss`, starting from `start` [P], in float64.

    Raises ValueError if the search ends at parameters that are not finite.
    """
    parameters = start.double().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=_ITERATIONS, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(parameters)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    if not parameters.isfinite().all():
        raise ValueError(f"the search for the lowest NLL ended at {parameters.tolist()}")
    return parameters.detach()
