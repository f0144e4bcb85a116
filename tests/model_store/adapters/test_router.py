from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.adapters.router import Router, route

LOGITS = st.floats(-30, 30, width=32)


@given(data=st.data(), experts=st.integers(1, 9))
def test_gates_and_masses_are_what_the_equations_say(data, experts):
    top_k = data.draw(st.integers(1, experts))
    logits = torch.tensor(data.draw(st.lists(LOGITS, min_size=experts, max_size=experts)), dtype=torch.float64)

    raw, renormalised = route(logits, top_k, "raw"), route(logits, top_k, "renormalised")

    softmax = torch.exp(logits - logits.max()) / torch.exp(logits - logits.max()).sum()
    largest = softmax.sort(descending=True).values[:top_k]
    assert int((raw.gates > 0).sum()) == top_k  # exactly k, ties or not
    torch.testing.assert_close(raw.probabilities, softmax)
    torch.testing.assert_close(raw.gates.sort(descending=True).values[:top_k], largest)
    torch.testing.assert_close(raw.kept_mass, largest.sum())
    assert top_k / experts - 1e-12 <= float(raw.kept_mass) <= 1 + 1e-12
    torch.testing.assert_close(renormalised.gates.sum(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(renormalised.gates, raw.gates / largest.sum())
    assert torch.equal(renormalised.kept_mass, raw.kept_mass)  # FEU is computed from raw masses under both mixings


def test_the_hand_worked_masses_of_four_experts():
    routing = route(torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]])), 2, "raw")
    torch.testing.assert_close(routing.gates, torch.tensor([[0.0, 0.4, 0.0, 0.3]]))
    torch.testing.assert_close(routing.kept_mass, torch.tensor([0.7]))
    routing = route(torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]])), 2, "renormalised")
    torch.testing.assert_close(routing.gates, torch.tensor([[0.0, 4 / 7, 0.0, 3 / 7]]))


@pytest.mark.parametrize("mixing", ["raw", "renormalised"])
def test_the_kept_mass_has_a_gradient_under_both_mixings(mixing):
    torch.manual_seed(0)
    router = Router(6, 4, 2, mixing)
    (1 - router(torch.randn(3, 6)).kept_mass).square().sum().backward()
    assert router.weight.grad is not None
    assert float(router.weight.grad.abs().max()) > 1e-4


def test_a_half_precision_state_is_routed_in_fp32():
    torch.manual_seed(0)
    router = Router(64, 8, 2, "raw")
    hidden = torch.randn(5, 64).bfloat16()
    routing = router(hidden)
    assert routing.probabilities.dtype == torch.float32
    assert torch.equal(routing.probabilities, torch.softmax(hidden.float() @ router.weight.T, dim=-1))
