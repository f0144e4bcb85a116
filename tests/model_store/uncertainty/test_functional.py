"""FEU against equation 9 by hand, and its independence of padding."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uq4ct.model_store.uncertainty.functional import functional_uncertainty

NAN = float("nan")


def test_two_layers_with_pads_by_hand() -> None:
    kept_mass = torch.tensor(
        [
            [[0.5, 0.25, NAN], [0.75, 1.0, 0.5]],
            [[1.0, 0.25, NAN], [0.25, 0.5, 0.75]],
        ]
    )
    token_mask = torch.tensor([[True, True, False], [True, True, True]])
    first = (Fraction(1, 2) + Fraction(1, 4) + 1 + Fraction(1, 4)) / (2 * 2)
    second = (Fraction(3, 4) + 1 + Fraction(1, 2) + Fraction(1, 4) + Fraction(1, 2) + Fraction(3, 4)) / (2 * 3)
    feu = functional_uncertainty(kept_mass, token_mask)
    assert feu.dtype == torch.float64
    assert feu.tolist() == [float(first), float(second)]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), junk=st.sampled_from([NAN, float("inf"), -float("inf"), 1e30, 0.0]))
def test_pads_have_no_influence_on_values_or_gradients(seed: int, junk: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    kept_mass = torch.rand(3, 4, 6, generator=generator)
    token_mask = torch.rand(4, 6, generator=generator) < 0.5
    token_mask[:, 2] = True
    polluted = torch.where(token_mask, kept_mass, junk).requires_grad_()
    feu = functional_uncertainty(polluted, token_mask)
    for question in range(4):  # each one alone, without any padding
        alone = kept_mass[:, question, token_mask[question]]
        torch.testing.assert_close(feu[question], alone.double().mean())
    feu.sum().backward()
    share = token_mask / token_mask.sum(dim=-1, keepdim=True) / 3
    assert polluted.grad is not None
    torch.testing.assert_close(polluted.grad, share.expand(3, 4, 6).float())


def test_a_thousand_low_precision_tokens_keep_their_mean() -> None:
    kept_mass = torch.full((32, 1, 4096), 0.3, dtype=torch.bfloat16)
    feu = functional_uncertainty(kept_mass, torch.ones(1, 4096, dtype=torch.bool))
    assert feu.item() == pytest.approx(kept_mass[0, 0, 0].item(), abs=1e-12)


def test_a_question_without_a_token_has_no_feu() -> None:
    token_mask = torch.tensor([[True, True], [False, False]])
    feu = functional_uncertainty(torch.full((1, 2, 2), 0.5), token_mask)
    assert feu[0] == 0.5
    assert feu[1].isnan()


def test_errors_name_what_is_wrong() -> None:
    kept_mass = torch.rand(2, 3, 4)
    with pytest.raises(ValueError, match=r"not \[2, 3, 4\] and \[3, 5\]"):
        functional_uncertainty(kept_mass, torch.ones(3, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"not torch.int64"):
        functional_uncertainty(kept_mass, torch.ones(3, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="L >= 1"):
        functional_uncertainty(kept_mass[:0], torch.ones(3, 4, dtype=torch.bool))
