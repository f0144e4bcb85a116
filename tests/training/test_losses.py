"""The losses against calculations by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.adapters.router import Routing, route
from uq4ct.training.losses import calibration_loss, calibration_weight, cross_entropy, load_balance_loss


def routing_of(probabilities: list[list[float]]) -> Routing:
    """Routing [tokens, N] with given full-softmax probabilities."""
    values = torch.tensor(probabilities, dtype=torch.float64)
    return Routing(values, values, values.sum(dim=-1))


def test_cross_entropy_is_over_the_candidates_a_question_has() -> None:
    logits = torch.tensor([[math.log(1.0), math.log(3.0), -torch.inf], [0.0, 0.0, math.log(2.0)]])
    losses = cross_entropy(logits, torch.tensor([1, 2]))
    assert losses.tolist() == pytest.approx([-math.log(3 / 4), -math.log(2 / 4)])


def test_cross_entropy_of_bf16_logits_is_computed_in_fp32() -> None:
    logits = torch.randn(64, 4, dtype=torch.bfloat16)
    answers = torch.randint(4, (64,))
    exact = -logits.double().log_softmax(dim=-1)[torch.arange(64), answers]
    torch.testing.assert_close(cross_entropy(logits, answers).double(), exact, atol=1e-5, rtol=0)


def test_calibration_loss_is_the_squared_distance_to_the_indicator() -> None:
    feu = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64, requires_grad=True)
    losses = calibration_loss(feu, torch.tensor([True, False, True]))
    assert losses.tolist() == [float(Fraction(9, 16)), float(Fraction(1, 4)), float(Fraction(1, 16))]
    losses.sum().backward()
    assert feu.grad is not None
    assert feu.grad.tolist() == [-1.5, 1.0, -0.5]  # 2 (FEU - indicator)


def test_the_indicator_is_no_path_for_gradients() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    soft_indicator = logits.softmax(dim=-1)[:, 0]
    feu = torch.rand(3, requires_grad=True)
    calibration_loss(feu, soft_indicator).sum().backward()
    assert logits.grad is None


@pytest.mark.parametrize(("form", "balanced"), [("argmax", 1.0), ("top_k", 2.0)])
def test_load_balance_of_an_even_router(form: Literal["argmax", "top_k"], balanced: float) -> None:
    """Each of 4 experts is first for a quarter of the tokens, and their mean probabilities are equal."""
    rows = [[0.4, 0.3, 0.2, 0.1], [0.1, 0.4, 0.3, 0.2], [0.2, 0.1, 0.4, 0.3], [0.3, 0.2, 0.1, 0.4]]
    value = load_balance_loss([routing_of(rows)] * 2, form, top_k=2)
    assert value.item() == pytest.approx(balanced)


def test_load_balance_by_hand() -> None:
    """Two layers, two tokens: N * sum F_i P_i, layer by layer, then the mean."""
    first = routing_of([[0.75, 0.25], [0.5, 0.5]])
    second = routing_of([[0.25, 0.75], [0.25, 0.75]])
    # first: F = (1, 0) (the tie goes to expert 0), P = (5/8, 3/8): 2 * 5/8; second: F = (0, 1), P = (1/4, 3/4): 2 * 3/4
    expected = (2 * Fraction(5, 8) + 2 * Fraction(3, 4)) / 2
    assert load_balance_loss([first, second], "argmax", top_k=1).item() == pytest.approx(float(expected))
    # MixLoRA's form over both layers together: F = (1/2, 1/2), P = (7/16, 9/16): 2 * 1/2
    assert load_balance_loss([first, second], "top_k", top_k=1).item() == pytest.approx(1.0)


@given(st.integers(2, 8), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_load_balance_gradient_flows_through_the_probabilities_alone(experts: int, tokens: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(tokens, experts, generator=generator, dtype=torch.float64, requires_grad=True)
    load_balance_loss([route(logits, 1, "raw")], "argmax", top_k=1).backward()
    assert logits.grad is not None
    # a softmax's input gradient sums to zero over the experts of a token
    assert logits.grad.sum(dim=-1).abs().max().item() < 1e-12


def test_the_weight_of_the_calibration_loss_is_constant_or_ramped() -> None:
    assert [calibration_weight(0.8, step, 0) for step in (1, 10)] == [0.8, 0.8]
    assert [calibration_weight(1.0, step, 50) for step in (1, 25, 50, 51)] == [0.02, 0.5, 1.0, 1.0]
