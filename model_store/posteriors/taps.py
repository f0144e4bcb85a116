"""Inputs and outputs of the expert banks' weights in a forward, and the gradients at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from uq4ct.model_store.adapters.context import RowQuestions, current_forward

if TYPE_CHECKING:
    from uq4ct.model_store.adapters.expert_bank import ExpertBank


@dataclass(frozen=True, slots=True)
class Tap:
    """A weight W [out, in] of an expert bank in a forward: its `inputs` [R, ..., in] and `outputs` [R, ..., out].

    The outputs are W x plus terms that do not depend on W. The middle dimensions are the tokens and, within a block,
    the kept experts. With `questions`, several rows belong to a question.
    """

    inputs: Tensor
    outputs: Tensor
    questions: RowQuestions | None = None


class BankTaps:
    """A bank call that runs the banks unchanged and taps their weights, by stored name: `{place}.A`, `{place}.B`.

    Gradients reach every tap, whether or not the weights are frozen; dropout follows the bank's mode.
    """

    def __init__(self) -> None:
        self.taps: dict[str, Tap] = {}

    def __call__(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Run the bank and record its taps."""
        low_rank = bank.project(inputs)
        if not low_rank.requires_grad:
            low_rank.requires_grad_()  # frozen weights before the first bank: the graph starts here
        gated = bank.gate(low_rank, gates)
        output = bank.expand(gated, base_output)
        context = current_forward()
        questions = None if context is None else context.questions
        self.taps[f"{place}.A"] = Tap(inputs.detach(), low_rank, questions)
        self.taps[f"{place}.B"] = Tap(gated.detach(), output, questions)
        return output


def output_gradients(values: Tensor, taps: Mapping[str, Tap]) -> Iterator[dict[str, Tensor]]:
    """Yield, for each column c of `values` [B, C], its gradients at the outputs of every weight, [R, ..., out].

    Rows of a batch do not interact, so one backward pass of a column's sum gives the gradients of all its rows.
    """
    outputs = [tap.outputs for tap in taps.values()]
    columns = values.shape[1]
    for column in range(columns):
        gradients = torch.autograd.grad(values[:, column].sum(), outputs, retain_graph=column + 1 < columns)
        yield dict(zip(taps, gradients, strict=True))


def weight_jacobians(values: Tensor, taps: Mapping[str, Tap]) -> dict[str, Tensor]:
    """Return the derivative of every value [B, C] by every weight, [B, C, out, in] each, in fp32 or better."""
    columns = [
        {name: _weight_gradient(gradient, taps[name]) for name, gradient in gradients.items()}
        for gradients in output_gradients(values, taps)
    ]
    return {name: torch.stack([column[name] for column in columns], dim=1) for name in taps}


def _weight_gradient(gradient: Tensor, tap: Tap) -> Tensor:
    """Return the sum over a question's tokens of gradient x input: [B, out, in]."""
    dtype = torch.promote_types(tap.inputs.dtype, torch.float32)
    rows = gradient.to(dtype).flatten(1, -2).mT @ tap.inputs.to(dtype).flatten(1, -2)
    return rows if tap.questions is None else tap.questions.sum_rows(rows)
