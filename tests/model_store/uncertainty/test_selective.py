from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom
from torch import Tensor

from uq4ct.model_store.uncertainty.selective import (
    SelectiveThreshold,
    TargetNotMetError,
    binomial_upper_bound,
    threshold_for_coverage,
    threshold_for_risk,
)


@settings(deadline=None)
@given(trials=st.integers(1, 3000), share=st.floats(0, 1), delta=st.floats(0.001, 0.5))
def test_the_bound_is_clopper_and_pearson(trials: int, share: float, delta: float) -> None:
    successes = min(int(share * trials), trials)
    expected = 1.0 if successes == trials else beta.ppf(1 - delta, successes + 1, trials - successes)
    assert binomial_upper_bound(successes, trials, delta) == pytest.approx(expected, abs=1e-9)


def test_the_bound_without_errors_by_hand() -> None:
    assert binomial_upper_bound(0, 10, 0.05) == pytest.approx(1 - 0.05**0.1, abs=1e-12)
    assert binomial_upper_bound(0, 0, 0.05) == 1.0


@pytest.mark.parametrize(("successes", "trials", "delta"), [(-1, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (1, 5, 1.0)])
def test_impossible_counts_are_refused(successes: int, trials: int, delta: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and"):
        binomial_upper_bound(successes, trials, delta)


def _draw(questions: int, generator: torch.Generator, gap: float = 0.1) -> tuple[Tensor, Tensor]:
    """Confidences 0.25 + 0.75 s, s of density 2 s on [0, 1], of a model that is right less often than it says."""
    confidence = 0.25 + 0.75 * torch.rand(questions, generator=generator, dtype=torch.float64) ** 0.5
    return confidence, torch.rand(questions, generator=generator, dtype=torch.float64) < confidence - gap


def _true_risk(threshold: float, gap: float = 0.1) -> float:
    """1 + gap - E[confidence | confidence >= threshold] of `_draw`."""
    s = max(threshold - 0.25, 0) / 0.75
    return 1 + gap - (0.25 + 0.75 * 2 / 3 * (1 - s**3) / (1 - s**2))


def _agrees(found: SelectiveThreshold, confidence: Tensor, correct: Tensor) -> bool:
    answered = confidence >= found.threshold
    return math.isclose(found.coverage, answered.double().mean().item()) and math.isclose(
        found.risk, 1 - correct[answered].double().mean().item(), abs_tol=1e-12
    )


@pytest.mark.slow
def test_the_risk_holds_in_at_least_1_minus_delta_of_500_simulations() -> None:
    generator = torch.Generator().manual_seed(3)
    delta, target, simulations = 0.1, 0.33, 500
    broken = found_any = 0
    for _ in range(simulations):
        confidence, correct = _draw(300, generator)
        try:
            found = threshold_for_risk(confidence, correct, target, delta)
        except TargetNotMetError:
            continue
        found_any += 1
        assert found.risk_bound <= target
        assert _agrees(found, confidence, correct)
        broken += _true_risk(found.threshold) > target
    assert found_any > 0.9 * simulations  # the guarantee is not kept by never answering
    assert broken <= delta * simulations
    assert broken <= binom.ppf(0.99, simulations, delta)


@pytest.mark.slow
def test_the_coverage_holds_in_at_least_1_minus_delta_of_500_simulations() -> None:
    generator = torch.Generator().manual_seed(4)
    delta, target, simulations = 0.1, 0.7, 500
    broken = 0
    for _ in range(simulations):
        confidence, correct = _draw(300, generator)
        found = threshold_for_coverage(confidence, correct, target, delta)
        assert found.coverage_bound >= target
        assert found.threshold > 0.3
        broken += 1 - ((found.threshold - 0.25) / 0.75) ** 2 < target
    assert broken <= binom.ppf(0.99, simulations, delta)


def test_a_perfect_model_answers_everything() -> None:
    confidence, correct = torch.linspace(0.3, 1, 200), torch.ones(200, dtype=torch.bool)
    found = threshold_for_risk(confidence, correct, 0.05, 0.05)
    assert (found.threshold, found.risk, found.coverage, found.coverage_bound) == (0.0, 0.0, 1.0, 1.0)
    assert found.risk_bound == pytest.approx(1 - (0.05 / 8) ** (1 / 200))


def test_a_target_out_of_reach_names_the_best_that_can_be_held() -> None:
    confidence, correct = torch.full((100,), 0.9), torch.arange(100) % 4 != 0
    best = binomial_upper_bound(25, 100, 0.05 / 8)
    with pytest.raises(TargetNotMetError, match=rf"lowest risk .* can guarantee is {math.ceil(best * 1000) / 1000}"):
        threshold_for_risk(confidence, correct, 0.1, 0.05)
    assert threshold_for_risk(confidence, correct, math.ceil(best * 1000) / 1000, 0.05).threshold == 0.0


@pytest.mark.parametrize(
    ("risk", "delta", "rows", "message"),
    [
        (0.0, 0.1, 5, "risk must be"),
        (1.0, 0.1, 5, "risk must be"),
        (0.1, 0.0, 5, "delta must"),
        (0.1, 0.1, 0, "least 1"),
    ],
)
def test_impossible_targets_are_refused(risk: float, delta: float, rows: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        threshold_for_risk(torch.rand(rows), torch.ones(rows, dtype=torch.bool), risk, delta)
    with pytest.raises(ValueError, match="confidence must be"):
        threshold_for_coverage(torch.rand(3, 1), torch.ones(3, dtype=torch.bool), 0.5, 0.1)


def test_a_confidence_of_exactly_the_threshold_is_answered() -> None:
    confidence, correct = torch.full((40,), 0.5), torch.ones(40, dtype=torch.bool)
    found = threshold_for_coverage(confidence, correct, 0.9, 0.1)
    assert (found.threshold, found.coverage) == (0.5, 1.0)
