"""The search for a calibration map's parameters of lowest loss: a grid, then L-BFGS in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_ITERATIONS = 200
_MOST_STARTS = 6

Loss = Callable[[Tensor], Tensor]


def minimise(loss: Loss, start: Tensor) -> Tensor:
    """Return the parameters that minimise a smooth `loss`, starting from `start` [P], in float64.

    Raises ValueError if the search ends at parameters that are not finite.
    """
    parameters = start.double().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [parameters],
        max_iter=_ITERATIONS,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-9,
        tolerance_change=1e-13,
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


def minimise_over(loss: Loss, axes: Sequence[Sequence[float]]) -> Tensor:
    """Return the parameters of lowest `loss` found from the local minima of a grid with these `axes`, one a parameter.

    For a loss with several minima; at most the 6 lowest points of the grid that are local minima are starts.
    Raises ValueError as `minimise` does.
    """
    lines = [torch.tensor(axis, dtype=torch.float64) for axis in axes]
    points = torch.cartesian_prod(*lines).reshape(-1, len(lines))
    with torch.no_grad():
        values = torch.stack([loss(point) for point in points])
    lowest = _local_minima(values.reshape([len(line) for line in lines])).flatten()
    starts = sorted(lowest.nonzero().flatten().tolist(), key=lambda index: values[index].item())[:_MOST_STARTS]
    return lowest_of(loss, [minimise(loss, points[index]) for index in starts])


def lowest_of(loss: Loss, candidates: Sequence[Tensor]) -> Tensor:
    """Return the candidate with the lowest loss."""
    with torch.no_grad():
        return min(candidates, key=lambda candidate: loss(candidate).item())


def _local_minima(values: Tensor) -> Tensor:
    """Return which points of a grid are no higher than their neighbours along every axis: bool, the same shape."""
    minima = torch.ones_like(values, dtype=torch.bool)
    for axis in range(values.ndim):
        along, found = values.movedim(axis, -1), minima.movedim(axis, -1)
        found[..., 1:] &= along[..., 1:] <= along[..., :-1]
        found[..., :-1] &= along[..., :-1] <= along[..., 1:]
    return minima
