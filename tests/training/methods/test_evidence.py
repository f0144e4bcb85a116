"""The evidence and its maximum, held against exact integrals and dense determinants."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model_store.posteriors.kronecker_factors import dense_curvature, random_factors
from uq4ct.training.methods.evidence import Evidence


@settings(deadline=None, max_examples=30)
@given(precision=st.floats(1e-2, 1e3), parameters=st.integers(1, 6), seed=st.integers(0, 1000))
def test_it_is_the_exact_integral_where_the_model_is_gaussian(precision: float, parameters: int, seed: int) -> None:
    """Linear regression with unit noise: y ~ N(0, I + X X' / precision), every sign and constant included."""
    source = torch.Generator().manual_seed(seed)
    design = torch.randn(5, parameters, dtype=torch.float64, generator=source)
    target = torch.randn(5, dtype=torch.float64, generator=source) * 3
    curvature = design.T @ design
    eye = torch.eye(parameters, dtype=torch.float64)
    weights = torch.linalg.solve(curvature + precision * eye, design.T @ target)
    log_likelihood = -((target - design @ weights).square().sum() + 5 * math.log(2 * math.pi)) / 2
    found = Evidence(
        log_likelihood.item(), weights.square().sum().item(), torch.linalg.eigvalsh(curvature).clamp(min=0)
    ).log_marginal_likelihood(precision)
    covariance = torch.eye(5, dtype=torch.float64) + design @ design.T / precision
    exact = torch.distributions.MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance).log_prob(target)
    assert found == pytest.approx(exact.item(), rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(precision=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_its_determinant_is_the_dense_one(precision: float, seed: int) -> None:
    """LL - precision |w|^2 / 2 + (n log precision - log det P) / 2 over two weights of low rank."""
    source = torch.Generator().manual_seed(seed)
    factors = [random_factors(3, 5, (3, 2), source), random_factors(4, 2, (1, 2), source)]
    dense = torch.block_diag(*(dense_curvature(one) for one in factors))
    n = len(dense)
    log_det = torch.linalg.slogdet(dense + precision * torch.eye(n, dtype=torch.float64)).logabsdet.item()
    expected = -7.0 - precision * 2.5 / 2 + n * math.log(precision) / 2 - log_det / 2
    eigenvalues = torch.cat([one.curvature.flatten() for one in factors])
    found = Evidence(-7.0, 2.5, eigenvalues).log_marginal_likelihood(precision)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-8)


def test_the_best_precision_of_one_weight_by_hand() -> None:
    """h / (h + p) = p w^2 with h = 6 and w^2 = 0.5: p^2 + 6 p - 12 = 0."""
    found = Evidence(-3.0, 0.5, torch.tensor([6.0], dtype=torch.float64)).best_precision()
    assert found == pytest.approx(math.sqrt(21) - 3, rel=1e-9)


@settings(deadline=None, max_examples=50)
@given(
    curvature=st.lists(st.floats(1e-4, 1e5), min_size=1, max_size=8),
    squared_norm=st.floats(1e-2, 1e3),
)
def test_no_precision_has_more_evidence_than_the_best(curvature: list[float], squared_norm: float) -> None:
    evidence = Evidence(-10.0, squared_norm, torch.tensor(curvature, dtype=torch.float64))
    best = evidence.best_precision()
    peak = evidence.log_marginal_likelihood(best)
    others = [best * 10 ** (step / 10) for step in range(-40, 41)]
    assert all(evidence.log_marginal_likelihood(precision) <= peak + 1e-9 * abs(peak) for precision in others)
