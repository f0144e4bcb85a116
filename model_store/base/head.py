"""The head of a language model: from final hidden states to the logits of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class OutputHead:
    """A head's linear, and what the model does to its logits: they are scaled, and bounded if `softcap` is set."""

    linear: nn.Linear
    scale: float = 1.0
    softcap: float | None = None

    @property
    def vocabulary(self) -> int:
        """Number of logits."""
        return self.linear.out_features

    def logits(self, states: Tensor) -> Tensor:
        """Return all logits of states [..., d] in fp32 or better: [..., vocabulary]."""
        logits = self.linear(states)
        return self._finish(logits.to(torch.promote_types(logits.dtype, torch.float32)))

    def logits_of(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits of some tokens [n], computed in fp32 or better: [..., n]."""
        dtype = torch.promote_types(states.dtype, torch.float32)
        logits = states.to(dtype) @ self.linear.weight[tokens].to(dtype).T
        if self.linear.bias is not None:
            logits = logits + self.linear.bias[tokens].to(dtype)
        return self._finish(logits)

    def _finish(self, logits: Tensor) -> Tensor:
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


def head_of(model: PreTrainedModel) -> OutputHead:
    """Return the head of a base model, with the settings of its configuration."""
    config = model.config.get_text_config()
    settings = {name: getattr(config, name, None) for name in ("logit_scale", "logits_scaling", "lm_head_multiplier")}
    scale = (settings["logit_scale"] or 1.0) * (settings["lm_head_multiplier"] or 1.0)
    return OutputHead(
        linear=cast(nn.Linear, model.get_output_embeddings()),
        scale=scale / (settings["logits_scaling"] or 1.0),
        softcap=getattr(config, "final_logit_softcapping", None),
    )
