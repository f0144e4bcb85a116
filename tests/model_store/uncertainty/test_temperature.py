"""The fitted temperature against closed forms, simulated data and an independent minimiser."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch.nn.functional import one_hot

from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.temperature import (
    PRIOR_QUESTIONS,
    TEMPERATURE_RANGE,
    Temperature,
    fit_temperature,
)

INF = float("inf")


@pytest.mark.parametrize("margin", [0.2, 1.0, 7.5])
@pytest.mark.parametrize("samples", [1, 3])
def test_closed_form_of_one_repeated_question(margin: float, samples: int) -> None:
    # Logits (margin, 0) and 3 of 4 answers on the first option: softmax is 3/4 where margin / T = ln 3.
    logits = torch.tensor([[margin, 0.0, -INF]]).expand(samples, 4, 3)
    fitted = fit_temperature(logits, torch.tensor([0, 0, 1, 0]), prior_questions=0)
    assert fitted.value == pytest.approx(margin / math.log(3), rel=1e-5)


def test_closed_form_with_further_questions_that_follow_the_model() -> None:
    """Four of four right at 3/4 and m = 8 more at 3/4: softmax is (4 + 6) / 12 = 5/6 where ln 3 / T = ln 5."""
    logits = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64).expand(1, 4, 2)
    fitted = fit_temperature(logits, torch.zeros(4, dtype=torch.long), prior_questions=8)
    assert fitted.value == pytest.approx(math.log(3) / math.log(5), rel=1e-5)
    assert not fitted.at_bound


@pytest.mark.parametrize("known", [0.5, 1.0, 2.5])
def test_recovers_a_known_temperature(known: float) -> None:
    generator = torch.Generator().manual_seed(19)
    logits = 2 * torch.randn(1, 20_000, 4, generator=generator)
    answers = (logits[0] / known).softmax(-1).multinomial(1, generator=generator).squeeze(1)
    assert fit_temperature(logits, answers).value == pytest.approx(known, rel=0.05)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), samples=st.integers(1, 4))
def test_no_temperature_of_an_independent_search_is_better(seed: int, samples: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(samples, 60, 5, generator=generator)
    logits[:, ::3, 3:] = -INF
    answers = torch.randint(3, (60,), generator=generator)

    def loss(log_temperature: float) -> float:
        log_probabilities = mean_probabilities(logits, math.exp(log_temperature)).clamp(min=1e-300).log()
        return -(targets * log_probabilities).sum(-1).mean().item()

    own = mean_probabilities(logits)
    targets = (60 * one_hot(answers, 5) + PRIOR_QUESTIONS * own) / (60 + PRIOR_QUESTIONS)
    bounds = tuple(math.log(bound) for bound in TEMPERATURE_RANGE)
    ours = loss(math.log(fit_temperature(logits, answers).value))
    theirs = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    assert ours <= theirs.fun + 1e-9


def test_the_range_ends_the_search() -> None:
    logits = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
    always_right, always_wrong = torch.tensor([0, 1]), torch.tensor([1, 0])
    for answers, end in ((always_right, 0.05), (always_wrong, 20.0)):
        found = fit_temperature(logits, answers, prior_questions=0)
        assert found.value == pytest.approx(end)
        assert found.at_bound
        assert not fit_temperature(logits, answers).at_bound


def test_all_right_answers_of_a_cautious_model_end_at_the_bound() -> None:
    """Odds of exp(0.01): even the softened targets need a temperature below the range."""
    logits = torch.tensor([[0.01, 0.0]]).expand(1, 20, 2)
    assert fit_temperature(logits, torch.zeros(20, dtype=torch.long)).at_bound


def test_without_labels_to_speak_of_the_temperature_is_1() -> None:
    logits = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    assert fit_temperature(logits, torch.tensor([0, 1]), prior_questions=1e6).value == pytest.approx(1, abs=1e-4)


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.lists(st.integers(-80, 80), min_size=4, max_size=4), min_size=1, max_size=8),
    temperature=st.floats(*TEMPERATURE_RANGE),
)
def test_one_sample_keeps_its_option(rows: list[list[int]], temperature: float) -> None:
    logits = torch.tensor([rows]) / 8
    assert torch.equal(Temperature(temperature).divide(logits).argmax(-1), logits.argmax(-1))
    assert torch.equal(mean_probabilities(logits, temperature).argmax(-1), logits[0].argmax(-1))


def test_several_samples_may_change_their_option() -> None:
    # Two weak votes for the first option against one sure vote for the second.
    logits = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 8.0]]])
    assert mean_probabilities(logits, 0.05).argmax().item() == 0
    assert mean_probabilities(logits, 4.0).argmax().item() == 1


def test_pads_stay_pads_and_the_division_is_the_one_of_the_probabilities() -> None:
    logits = torch.tensor([[[1.5, -0.5, -INF]]])
    divided = Temperature(3.0).divide(logits)
    assert divided.tolist() == [[[0.5, -0.5 / 3, -INF]]]
    assert torch.equal(mean_probabilities(divided), mean_probabilities(logits, 3.0))


@pytest.mark.parametrize("value", [0.0, -2.0, INF, float("nan")])
def test_value_is_checked(value: float) -> None:
    with pytest.raises(ValueError, match=f"not {value}"):
        Temperature(value)


def test_what_cannot_be_fitted_is_an_error() -> None:
    logits = torch.tensor([[[1.0, 0.0, -INF], [0.0, 1.0, 2.0]]])
    with pytest.raises(ValueError, match="at least 2 questions, not 1"):
        fit_temperature(logits[:, :1], torch.tensor([0]))
    with pytest.raises(ValueError, match=r"padded candidate in the questions \[0\]"):
        fit_temperature(logits, torch.tensor([2, 2]))
    with pytest.raises(ValueError, match=r"0\.\.2, not 3"):
        fit_temperature(logits, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="NaN or"):
        fit_temperature(logits.where(logits != 2.0, float("nan")), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"S, B, C"):
        fit_temperature(logits[0], torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="do not determine a temperature"):
        fit_temperature(torch.ones(2, 3, 4), torch.tensor([0, 1, 2]))
