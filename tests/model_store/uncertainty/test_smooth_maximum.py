from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.uncertainty.smooth_maximum import smooth_maximum, unsureness

logit_rows = st.lists(st.floats(-60, 60), min_size=2, max_size=8)
sharpnesses = st.floats(0.1, 1000)


def test_two_probabilities_by_hand() -> None:
    """ln(e^7 + e^3) / 10 = 0.7 + ln(1 + e^-4) / 10; the padded candidate adds nothing."""
    found = smooth_maximum(torch.tensor([[0.7, 0.3, 0.0]], dtype=torch.float64), torch.tensor([2]), 10.0)
    assert found.item() == pytest.approx(0.7 + math.log1p(math.exp(-4)) / 10, abs=1e-12)


@pytest.mark.parametrize(("sharpness", "bias"), [(10, 0.1386), (100, 0.01386)])
def test_its_bias_at_four_equal_probabilities(sharpness: float, bias: float) -> None:
    found = smooth_maximum(torch.full((1, 4), 0.25).double(), torch.tensor([4]), sharpness)
    assert found.item() - 0.25 == pytest.approx(bias, rel=1e-3)
    unsure = unsureness(torch.full((1, 4), 0.25).double(), torch.tensor([4]), sharpness)
    assert unsure.item() == pytest.approx(1 - math.log(4) / sharpness / 0.75, abs=1e-12)


def test_each_question_is_measured_by_its_own_options() -> None:
    """Equal probabilities of 2 and of 4 options both have the maximum unsureness, except for the bias."""
    rows = torch.tensor([[0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]]).double()
    assert unsureness(rows, torch.tensor([2, 4]), 1e6).tolist() == pytest.approx([1, 1], abs=1e-5)
    sure = torch.tensor([[1.0, 0, 0, 0]]).double()
    assert unsureness(sure, torch.tensor([4]), 100.0).item() == 0


@given(logit_rows, sharpnesses)
def test_bounds_hold_at_any_sharpness(logits: list[float], sharpness: float) -> None:
    """max p <= smooth maximum <= max p + ln C / sharpness, and the unsureness never leaves [0, 1]."""
    probabilities = torch.tensor([logits]).double().softmax(dim=-1)
    options = torch.tensor([len(logits)])
    smooth, largest = smooth_maximum(probabilities, options, sharpness).item(), probabilities.max().item()
    assert largest - 1e-12 <= smooth <= largest + math.log(len(logits)) / sharpness + 1e-12
    assert 0 <= unsureness(probabilities, options, sharpness).item() <= 1
