"""The two matrix products of a bank against a loop over its experts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uq4ct.model_store.adapters.config import AdapterConfig, Mixing
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.router import Router

IN, OUT, RANK = 7, 5, 3


def _bank(experts: int, top_k: int, *, dropout: float = 0.0, mixing: Mixing = "raw") -> ExpertBank:
    config = AdapterConfig(experts=experts, top_k=top_k, rank=RANK, alpha=4.5, dropout=dropout, mixing=mixing)
    bank = ExpertBank(IN, OUT, config).double()
    torch.nn.init.normal_(bank.B)
    return bank


def _one_expert_after_the_other(
    bank: ExpertBank, router: Router, hidden: Tensor, inputs: Tensor, base_output: Tensor
) -> Tensor:
    """Loop over each token's kept experts, directly from equations 3, 7 and 8."""
    outputs = []
    for token in range(len(inputs)):
        masses = torch.exp(router.weight @ hidden[token])
        masses = masses / masses.sum()
        kept = sorted(range(bank.experts), key=masses.detach().tolist().__getitem__, reverse=True)[: router.top_k]
        total = sum(masses[n] for n in kept)
        output = base_output[token] * (total if router.mixing == "raw_with_base" else 1)
        for n in kept:
            weight = masses[n] / total if router.mixing == "renormalised" else masses[n]
            rows = slice(n * RANK, (n + 1) * RANK)
            output = output + weight * (4.5 / RANK) * (bank.B[:, rows] @ (bank.A[rows] @ inputs[token]))
        outputs.append(output)
    return torch.stack(outputs)


@pytest.mark.parametrize("mixing", ["raw", "renormalised", "raw_with_base"])
@pytest.mark.parametrize(("experts", "top_k"), [(2, 1), (4, 2), (8, 2), (5, 5)])
def test_a_bank_equals_a_loop_over_experts_forward_and_backward(experts, top_k, mixing):
    torch.manual_seed(experts)
    bank = _bank(experts, top_k, mixing=mixing)
    router = Router(IN, experts, top_k, mixing).double()
    torch.nn.init.normal_(router.weight)
    base = torch.nn.Linear(IN, OUT).double()
    hidden, inputs = (torch.randn(6, IN, dtype=torch.float64) for _ in range(2))
    weights = torch.randn(6, OUT, dtype=torch.float64)
    leaves = [hidden, inputs, base.weight, bank.A, bank.B, router.weight]
    for leaf in leaves:
        leaf.requires_grad_(True)

    tokens, gates = inputs.view(2, 3, IN), router(hidden.view(2, 3, IN)).gates
    ours = bank(tokens, bank.base_output(base, tokens, gates), gates).view(6, OUT)
    loop = _one_expert_after_the_other(bank, router, hidden, inputs, base(inputs))

    torch.testing.assert_close(ours, loop, rtol=0, atol=1e-10)
    for mine, theirs in zip(
        torch.autograd.grad((ours * weights).sum(), leaves),
        torch.autograd.grad((loop * weights).sum(), leaves),
        strict=True,
    ):
        one_gate = mixing == "renormalised" and top_k == 1  # always 1, so nothing reaches the router
        assert one_gate or theirs.abs().max() > 1e-3
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_one_expert_without_gates_is_the_scaled_product():
    bank = _bank(1, 1)
    inputs, base_output = torch.randn(4, IN, dtype=torch.float64), torch.randn(4, OUT, dtype=torch.float64)
    expected = base_output + 4.5 / RANK * inputs @ bank.A.T @ bank.B.T
    torch.testing.assert_close(bank(inputs, base_output, None), expected, rtol=0, atol=1e-12)


def test_a_fresh_bank_adds_nothing():
    bank = ExpertBank(IN, OUT, AdapterConfig(rank=RANK))
    base_output = torch.randn(4, OUT)
    assert torch.equal(bank(torch.randn(4, IN), base_output, torch.rand(4, 8)), base_output)
    assert bank.A.abs().max() > 0


def test_dropout_acts_on_the_adapters_input_alone():
    bank = _bank(1, 1, dropout=0.5)
    inputs, base_output = torch.randn(4, IN, dtype=torch.float64), torch.randn(4, OUT, dtype=torch.float64)
    torch.manual_seed(3)
    ours = bank(inputs, base_output, None)
    torch.manual_seed(3)
    dropped = bank.dropout(inputs)
    assert (dropped == 0).any()
    torch.testing.assert_close(ours, base_output + 4.5 / RANK * dropped @ bank.A.T @ bank.B.T)


def test_weights_are_cast_to_the_inputs_dtype():
    bank = _bank(2, 1)
    output = bank(torch.randn(4, IN).bfloat16(), torch.randn(4, OUT).bfloat16(), torch.rand(4, 2))
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    assert bank.A.grad is not None
    assert bank.A.grad.dtype == torch.float64
