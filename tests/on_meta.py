"""Stricter rules for the device `meta`: matrix products accept tensors of the CPU there, which no GPU would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OnlyMeta(TorchDispatchMode):
    """Raises where an operation gets tensors of `meta` and of the CPU; numbers as tensors of the CPU are allowed."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(one.is_meta for one in tensors) and any(not one.is_meta and one.dim() > 0 for one in tensors):
            raise RuntimeError(f"{func} mixes tensors of the CPU and of meta")
        return func(*args, **(kwargs or {}))
