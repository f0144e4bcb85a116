from __future__ import annotations

import math

import pytest
import torch

from uq4ct.model_store.adapters.dropout import WordDropout


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.9])
def test_the_share_is_right_in_expectation_and_the_mean_stays(share):
    torch.manual_seed(0)
    size = 400_000
    output = WordDropout(share)(torch.ones(size))
    deviation = math.sqrt(share * (1 - share) / size)
    assert abs(float((output == 0).float().mean()) - share) < 5 * deviation
    assert abs(float(output.mean()) - 1) < 5 * deviation / (1 - share)
    kept = output[output != 0]
    assert torch.equal(kept, kept[0].expand_as(kept))
    assert float(kept[0]) == pytest.approx(1 / (1 - share), rel=1e-4)


def test_neighbours_that_share_a_draw_are_independent():
    torch.manual_seed(0)
    dropped = (WordDropout(0.3)(torch.ones(100_000, 4)) == 0).double()
    correlations = torch.corrcoef(dropped.T) - torch.eye(4)
    assert float(correlations.abs().max()) < 0.02


def test_a_seed_fixes_the_mask():
    dropout, inputs = WordDropout(0.3), torch.randn(5, 7)
    torch.manual_seed(1)
    first = dropout(inputs)
    torch.manual_seed(1)
    assert torch.equal(dropout(inputs), first)
    assert not torch.equal(dropout(inputs), first)


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 7), (2, 3, 5)])
def test_any_shape_keeps_its_shape_and_each_element_its_value_or_zero(shape):
    inputs = torch.randn(shape)
    output = WordDropout(0.25)(inputs)
    assert output.shape == inputs.shape
    assert bool(((output == 0) | torch.isclose(output, inputs / 0.75)).all())


def test_evaluation_and_share_zero_pass_the_input_through():
    inputs = torch.randn(3, 3)
    assert WordDropout(0.9).eval()(inputs) is inputs
    assert WordDropout(0.0)(inputs) is inputs


def test_the_gradient_goes_through_the_same_mask():
    inputs = torch.ones(1000, requires_grad=True)
    output = WordDropout(0.4)(inputs)
    output.sum().backward()
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, output.detach())
