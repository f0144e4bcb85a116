"""From an adapter's stored tensors to its weights in memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from uq4ct.model_store.adapters.expert_bank import ExpertBank


def check_fit(weights: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    """Compare the names and shapes of an adapter's weights and of stored tensors.

    Raises:
        ValueError: a name is missing or unknown, or a shape differs.
    """
    if set(weights) != set(stored):
        differing = sorted(set(weights) ^ set(stored))
        raise ValueError(f"stored weights do not fit the adapter: {len(differing)} names differ, first {differing[0]}")
    for name, weight in weights.items():
        if weight.shape != stored[name].shape:
            shapes = f"{tuple(stored[name].shape)}, expected {tuple(weight.shape)}"
            raise ValueError(f"stored weight {name} has shape {shapes}")


def freeze(module: nn.Module, dtype: torch.dtype) -> None:
    """Prepare a bank or a router for inference: no gradients, experts in `dtype`, routers in fp32 as trained."""
    module.requires_grad_(False).eval()
    if isinstance(module, ExpertBank):
        module.to(dtype)


def fill_frozen(
    modules: Mapping[str, nn.Module], stored: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> None:
    """Give banks and routers on device `meta` copies of stored tensors, on `device` and as `freeze` leaves them.

    The copies are aligned by PyTorch: the same product of the same numbers elsewhere in memory may differ in its bits.
    """
    for place, module in modules.items():
        own = dtype if isinstance(module, ExpertBank) else torch.float32
        for name, _ in list(module.named_parameters()):
            weight = stored[f"{place}.{name}"].float().to(device, own, copy=True)
            setattr(module, name, nn.Parameter(weight, requires_grad=False))
        module.eval()
