"""The entropy split against hand calculations and its identities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uq4ct.model_store.uncertainty.decomposition import decompose, mean_probabilities, sample_probabilities

INF = float("inf")


@st.composite
def padded_logits(draw: st.DrawFn, min_samples: int = 1) -> Tensor:
    """[S, B, C] with up to C - 1 trailing pads per question, at scales from flat to saturated."""
    samples, questions, candidates = draw(st.integers(min_samples, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(samples, questions, candidates, generator=generator) * draw(st.sampled_from([0.0, 1, 30, 1e4]))
    real = torch.randint(1, candidates + 1, (questions, 1), generator=generator)
    return logits.masked_fill(torch.arange(candidates) >= real, -INF)


def test_two_opposed_samples_by_hand() -> None:
    # Samples (3/4, 1/4, pad) and (1/4, 3/4, pad): the mean is (1/2, 1/2, 0).
    logits = torch.tensor([[[3.0, 1.0, 0.0]], [[1.0, 3.0, 0.0]]]).log()
    parts = decompose(sample_probabilities(logits))
    aleatoric = -(3 / 4 * math.log(3 / 4) + 1 / 4 * math.log(1 / 4))
    assert mean_probabilities(logits).tolist() == [[pytest.approx(0.5), pytest.approx(0.5), 0.0]]
    assert parts.total.item() == pytest.approx(math.log(2))
    assert parts.aleatoric.item() == pytest.approx(aleatoric)
    assert parts.epistemic.item() == pytest.approx(math.log(2) - aleatoric)


def test_probabilities_are_averaged_not_logits() -> None:
    logits = torch.tensor([[[9.0, 1.0]], [[1.0, 1.0]]]).log()
    # (9/10 + 1/2) / 2; the mean of the logits would give 3/4.
    assert mean_probabilities(logits)[0, 0].item() == pytest.approx(7 / 10)


@settings(deadline=None, max_examples=200)
@given(logits=padded_logits(), temperature=st.floats(0.05, 20))
def test_split_adds_up_and_pads_stay_at_zero(logits: Tensor, temperature: float) -> None:
    probabilities = mean_probabilities(logits, temperature)
    parts = decompose(sample_probabilities(logits, temperature))
    assert (probabilities[logits[0] == -INF] == 0).all()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(logits.shape[1], dtype=torch.float64))
    torch.testing.assert_close(parts.total, parts.aleatoric + parts.epistemic, atol=1e-12, rtol=0)
    assert (parts.epistemic >= 0).all()
    real = logits[0].isfinite().sum(-1).double()
    assert (parts.total <= real.log() + 1e-12).all()
    assert (parts.epistemic <= math.log(logits.shape[0]) + 1e-12).all()


@settings(deadline=None, max_examples=100)
@given(logits=padded_logits(), repeats=st.integers(1, 4))
def test_equal_samples_have_no_epistemic_uncertainty(logits: Tensor, repeats: int) -> None:
    epistemic = decompose(sample_probabilities(logits[:1].expand(repeats, -1, -1))).epistemic
    assert (epistemic >= 0).all()
    if repeats == 1:
        assert (epistemic == 0).all()
    torch.testing.assert_close(epistemic, torch.zeros_like(epistemic), atol=1e-12, rtol=0)


def test_rounding_never_makes_epistemic_uncertainty_negative() -> None:
    logits = torch.randn(1, 1000, 5, generator=torch.Generator().manual_seed(23)).expand(7, -1, -1)
    parts = decompose(sample_probabilities(logits))
    assert (parts.total < parts.aleatoric).any()
    assert parts.epistemic.min().item() == 0


@settings(deadline=None, max_examples=100)
@given(logits=padded_logits(min_samples=2), seed=st.integers(0, 2**31))
def test_order_of_samples_and_candidates_and_extra_pads_play_no_role(logits: Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pads = torch.full((*logits.shape[:2], 2), -INF)
    shuffled = torch.cat([logits, pads], dim=-1)[torch.randperm(logits.shape[0], generator=generator)]
    shuffled = shuffled[..., torch.randperm(shuffled.shape[-1], generator=generator)]
    ours, theirs = decompose(sample_probabilities(logits)), decompose(sample_probabilities(shuffled))
    torch.testing.assert_close(ours.total, theirs.total)
    torch.testing.assert_close(ours.aleatoric, theirs.aleatoric)


@pytest.mark.parametrize("broken", [[-INF, -INF], [float("nan"), 0.0], [INF, 0.0]])
def test_a_question_without_usable_logits_is_named(broken: list[float]) -> None:
    logits = torch.zeros(2, 3, 2)
    logits[1, 2] = torch.tensor(broken)
    with pytest.raises(ValueError, match=r"in the questions \[2\]"):
        mean_probabilities(logits)


@pytest.mark.parametrize("shape", [(3, 2), (0, 3, 2), (2, 3, 0)])
def test_shape_is_checked(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="S, C >= 1"):
        sample_probabilities(torch.zeros(shape))


@pytest.mark.parametrize("temperature", [0.0, -1.0, INF, float("nan")])
def test_temperature_is_checked(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"not {temperature}"):
        sample_probabilities(torch.zeros(1, 1, 2), temperature)
