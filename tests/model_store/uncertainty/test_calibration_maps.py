"""Calibration maps against references: they recover the data's parameters, keep the order, and beat no calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.feu_temperature import FeuTemperature, fit_feu_temperature
from uq4ct.model_store.uncertainty.isotonic import Isotonic, fit_isotonic, pool_adjacent_violators
from uq4ct.model_store.uncertainty.platt import Platt, fit_platt
from uq4ct.model_store.uncertainty.proper_scores import negative_log_likelihood
from uq4ct.model_store.uncertainty.temperature import fit_temperature


def simulate(questions: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of calibrated answers to questions of 2 to 4 options, and answers drawn from them."""
    source = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(questions, 4, generator=source, dtype=torch.float64)
    options = torch.randint(2, 5, (questions, 1), generator=source)
    logits = logits.masked_fill(torch.arange(4) >= options, -torch.inf)
    return logits, torch.multinomial(logits.softmax(-1), 1, generator=source).squeeze(1)


def nll(probabilities: Tensor, answers: Tensor) -> float:
    return negative_log_likelihood(probabilities, answers).mean().item()


def test_platt_undoes_an_overconfidence_and_finds_nothing_where_there_is_none() -> None:
    logits, answers = simulate(20_000)
    true, sharp = logits.softmax(-1), (2.5 * logits).softmax(-1)
    fresh, fresh_answers = simulate(20_000, seed=1)
    found = fit_platt(sharp, answers)
    repaired = found.apply((2.5 * fresh).softmax(-1))
    assert nll(repaired, fresh_answers) == pytest.approx(nll(fresh.softmax(-1), fresh_answers), abs=0.003)
    assert fit_platt(true, answers).slope == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_platt_is_finite_where_every_answer_is_right(seed: int) -> None:
    """Unsoftened, no finite line is best there; the fit ends inside its range, and keeps the order."""
    logits, _ = simulate(100, seed)
    probabilities = (0.3 * logits).softmax(-1)
    found = fit_platt(probabilities, probabilities.argmax(-1))
    assert not found.at_bound
    mapped = found.apply(probabilities)
    assert mapped.isfinite().all()
    assert torch.equal(mapped.argmax(-1), probabilities.argmax(-1))
    assert nll(mapped, probabilities.argmax(-1)) < nll(probabilities, probabilities.argmax(-1))


def test_platt_says_when_it_is_at_a_bound() -> None:
    """All right at odds of 1.01: the slope would have to be above 148."""
    probabilities = torch.tensor([[0.5025, 0.4975]] * 40, dtype=torch.float64)
    assert fit_platt(probabilities, torch.zeros(40, dtype=torch.long), prior_questions=0).at_bound
    assert not Platt(1.0, 0.0).at_bound
    assert Platt(math.exp(-4.99), 0.0).at_bound
    assert Platt(1.0, -49.9).at_bound


def test_platt_by_hand() -> None:
    """Slope 2, intercept 0: 0.8 -> 16/17, 0.2 -> 1/17."""
    mapped = Platt(2.0, 0.0).apply(torch.tensor([[0.8, 0.2, 0.0]]))
    assert mapped[0].tolist() == pytest.approx([16 / 17, 1 / 17, 0.0])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=2, max_size=40).map(sorted))
def test_blocks_are_those_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    """In hundredths, since scikit-learn's interpolation divides by 0 between inputs one rounding apart."""
    inputs, targets = [row[0] / 100 for row in rows], [float(row[1]) for row in rows]
    reference = IsotonicRegression().fit(np.array(inputs), np.array(targets)).predict(np.array(inputs))
    blocks = pool_adjacent_violators(inputs, targets)
    means = [mean for _, mean in blocks]
    assert means == sorted(means)
    assert sorted(set(np.round(reference, 9))) == pytest.approx(sorted(set(np.round(means, 9))), abs=1e-8)


@settings(deadline=None)
@given(st.floats(0.5, 0.999), st.integers(1, 200), st.integers(1, 200))
def test_blocks_of_neighbouring_inputs_stay_apart(low: float, wrong: int, right: int) -> None:
    """If inputs differ by one rounding, their rounded mean may equal the neighbour."""
    high = math.nextafter(low, 1)
    blocks = pool_adjacent_violators([low] * wrong + [high] * right, [0.0] * wrong + [1.0] * right)
    assert blocks == [(low, 0.0), (high, 1.0)]


def test_isotonic_repairs_and_keeps_the_sum() -> None:
    logits, answers = simulate(20_000)
    fresh, fresh_answers = simulate(20_000, seed=1)
    repaired = fit_isotonic((2.5 * logits).softmax(-1), answers).apply((2.5 * fresh).softmax(-1))
    assert torch.allclose(repaired.sum(-1), torch.ones(len(repaired), dtype=torch.float64))
    assert torch.equal(repaired == 0, fresh.isneginf())
    assert nll(repaired, fresh_answers) < nll((2.5 * fresh).softmax(-1), fresh_answers) - 0.1
    assert nll(repaired, fresh_answers) == pytest.approx(nll(fresh.softmax(-1), fresh_answers), abs=0.01)


def test_isotonic_reads_the_share_of_answers_of_probability_one() -> None:
    """Of 100 answers with a probability that rounds to 1, 60 are right."""
    probabilities = torch.tensor([[1.0, 0.0]] * 100 + [[0.5, 0.5]] * 100, dtype=torch.float64)
    probabilities[:100, 1] = 1e-300
    answers = torch.tensor([0] * 60 + [1] * 40 + [0, 1] * 50)
    sure = fit_isotonic(probabilities, answers, prior_questions=0).apply(probabilities[:1])
    assert sure[0].tolist() == pytest.approx([0.6, 0.4], abs=0.01)


def test_isotonic_says_no_certainty_from_few_questions() -> None:
    """All four right at 0.9, none at 0.1: 8 candidates, so shares of 1/10 and 9/10 at the ends."""
    probabilities = torch.tensor([[0.9, 0.1]] * 4, dtype=torch.float64)
    found = fit_isotonic(probabilities, torch.zeros(4, dtype=torch.long), prior_questions=0)
    assert found.knots == pytest.approx((0.0, 0.1, 0.9, 1.0))
    assert found.values == pytest.approx((0.1, 0.1, 0.9, 0.9))
    assert found.apply(probabilities)[0].tolist() == pytest.approx([0.9, 0.1])


def test_isotonic_is_mixed_with_the_identity() -> None:
    """Four questions and m = 4 sqrt(3): a quarter of the shares 1/10 and 9/10, three quarters of the probability."""
    probabilities = torch.tensor([[0.8, 0.2]] * 4, dtype=torch.float64)
    found = fit_isotonic(probabilities, torch.zeros(4, dtype=torch.long), prior_questions=4 * math.sqrt(3))
    assert found.knots == pytest.approx((0.0, 0.2, 0.8, 1.0))
    assert found.values == pytest.approx((0.025, 0.175, 0.825, 0.975))


@pytest.mark.parametrize(
    ("knots", "values", "message"),
    [
        ((0.0, 0.5, 0.5, 1.0), (0.1, 0.2, 0.3, 0.4), "knots must rise"),
        ((0.1, 1.0), (0.1, 0.2), "knots must rise"),
        ((0.0, 1.0), (0.3, 0.2), "must not fall"),
        ((0.0, 1.0), (0.0, 0.2), "inside"),
    ],
)
def test_no_isotonic_map_that_falls(knots: tuple[float, ...], values: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Isotonic(knots, values)


def test_feu_temperature_finds_the_parameters_that_made_the_data() -> None:
    """Logits sharpened by T(FEU, options): level 0.4, slope 2, 0.5 per log of the options over 4."""
    logits, answers = simulate(60_000)
    feu = torch.rand(len(answers), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    options = logits.isfinite().sum(-1).double()
    log_temperature = 0.4 - 2 * (feu - feu.mean()) + 0.5 * (options / 4).log()
    found = fit_feu_temperature((logits * log_temperature.exp()[:, None]).unsqueeze(0), feu, answers)
    assert found.level == pytest.approx(0.4, abs=0.05)
    assert found.feu_slope == pytest.approx(2, abs=0.1)
    assert found.options_slope == pytest.approx(0.5, abs=0.1)


def test_feu_that_says_nothing_leaves_one_temperature() -> None:
    logits, answers = simulate(20_000)
    feu = torch.rand(len(answers), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    sharp = (2.0 * logits).unsqueeze(0)
    found = fit_feu_temperature(sharp, feu, answers)
    assert found.feu_slope < 0.1
    one = mean_probabilities(sharp, fit_temperature(sharp, answers).value)
    ours = found.divide(sharp, feu).softmax(-1).mean(0)
    assert nll(ours, answers) == pytest.approx(nll(one, answers), abs=0.001)


def test_feu_that_says_the_opposite_is_not_followed() -> None:
    """Routers that are confident where the model is overconfident: the slope stays at 0 or more."""
    logits, answers = simulate(20_000)
    feu = torch.rand(len(answers), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = fit_feu_temperature((logits * (2 * (feu - 0.5)).exp()[:, None]).unsqueeze(0), feu, answers)
    assert 0 <= found.feu_slope < 0.05
    with pytest.raises(ValueError, match="at least 0, not -1"):
        FeuTemperature(0.0, -1.0, 0.0, 0.5)


def test_feu_temperature_says_when_a_question_is_at_an_end_of_the_range() -> None:
    logits, feu = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([0.4, 0.6])
    assert not FeuTemperature(0.0, 10.0, 0.0, 0.5).at_bound(logits, feu)
    assert FeuTemperature(0.0, 40.0, 0.0, 0.5).at_bound(logits, feu)
    assert FeuTemperature(3.0, 0.0, 0.0, 0.5).at_bound(logits, feu)


@settings(deadline=None, max_examples=50)
@given(
    level=st.floats(-3, 3),
    slope=st.floats(0, 20),
    options_slope=st.floats(-3, 3),
    feu=st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
def test_feu_temperature_keeps_the_chosen_option(
    level: float, slope: float, options_slope: float, feu: list[float]
) -> None:
    logits, _ = simulate(5)
    divided = FeuTemperature(level, slope, options_slope, 0.5).divide(logits.unsqueeze(0), torch.tensor(feu))
    assert torch.equal(divided[0].argmax(-1), logits.argmax(-1))
