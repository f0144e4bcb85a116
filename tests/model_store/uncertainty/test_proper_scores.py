"""NLL and multi-class Brier score against scikit-learn and against a hand calculation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.proper_scores import brier_score, negative_log_likelihood


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), questions=st.integers(1, 30), candidates=st.integers(3, 6))
def test_agree_with_scikit_learn(seed: int, questions: int, candidates: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(questions, candidates, dtype=torch.float64, generator=generator)
    probabilities = logits.softmax(-1)
    answers = torch.randint(candidates, (questions,), generator=generator)
    labels = list(range(candidates))
    nll = log_loss(answers.numpy(), probabilities.numpy(), labels=labels)
    brier = brier_score_loss(answers.numpy(), probabilities.numpy(), labels=labels)
    assert negative_log_likelihood(probabilities, answers).mean().item() == pytest.approx(nll, rel=1e-9)
    assert brier_score(probabilities, answers).mean().item() == pytest.approx(brier, rel=1e-9)


def test_one_value_a_question_by_hand_with_a_pad() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]])
    answers = torch.tensor([0, 1])
    assert negative_log_likelihood(probabilities, answers).tolist() == [math.log(2), math.log(4)]
    assert brier_score(probabilities, answers).tolist() == [1 / 4 + 1 / 16 + 1 / 16, 9 / 16 + 9 / 16]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1.0, 100.0, 1e6]))
def test_padded_and_saturated_candidates_stay_finite(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 8, 5, generator=generator)
    logits[:, ::2, 3:] = -float("inf")
    probabilities = mean_probabilities(logits)
    answers = torch.randint(3, (8,), generator=generator)
    assert negative_log_likelihood(probabilities, answers).isfinite().all()
    without_pads = brier_score(mean_probabilities(logits[:, ::2, :3]), answers[::2])
    assert torch.equal(brier_score(probabilities, answers)[::2], without_pads)


def test_impossible_answers_stay_finite() -> None:
    probabilities = torch.tensor([[1.0, 0.0]])
    answers = torch.tensor([1])
    assert negative_log_likelihood(probabilities, answers).item() == pytest.approx(1022 * math.log(2))
    assert brier_score(probabilities, answers).item() == 2.0


@pytest.mark.parametrize("score", [brier_score, negative_log_likelihood])
def test_answers_are_checked(score) -> None:
    probabilities = torch.full((2, 3), 1 / 3)
    for answer in (3, -1):
        with pytest.raises(ValueError, match=rf"0\.\.2, not {answer}"):
            score(probabilities, torch.tensor([0, answer]))
    with pytest.raises(ValueError, match=r"long \[2\], not torch.int64 \[3\]"):
        score(probabilities, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"long \[2\], not torch.float32"):
        score(probabilities, torch.tensor([0.0, 1.0]))
