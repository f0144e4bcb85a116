"""The prior precision of largest evidence, compared with dense determinants and a hand calculation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model_store.posteriors.kronecker_factors import dense_curvature, random_factors
from uq4ct.training.methods.evidence import best_precision


@settings(deadline=None, max_examples=50)
@given(squared_norm=st.floats(1e-2, 1e3), seed=st.integers(0, 1000))
def test_no_precision_has_more_evidence_than_the_best(squared_norm: float, seed: int) -> None:
    """-precision |w|^2 / 2 + (n log precision - log det P) / 2, with P the dense matrix of two low-rank weights."""
    source = torch.Generator().manual_seed(seed)
    factors = [random_factors(3, 5, (3, 2), source), random_factors(4, 2, (1, 2), source)]
    dense = torch.block_diag(*(dense_curvature(one) for one in factors))
    n = len(dense)

    def evidence(precision: float) -> float:
        log_det = torch.linalg.slogdet(dense + precision * torch.eye(n, dtype=torch.float64)).logabsdet.item()
        return -precision * squared_norm / 2 + n * math.log(precision) / 2 - log_det / 2

    best = best_precision(torch.cat([one.curvature.flatten() for one in factors]), squared_norm)
    peak = evidence(best)
    others = [best * 10 ** (step / 10) for step in range(-40, 41)]
    assert all(evidence(precision) <= peak + 1e-9 * max(1, abs(peak)) for precision in others)


def test_the_best_precision_of_one_weight_by_hand() -> None:
    """h / (h + p) = p w^2 with h = 6 and w^2 = 0.5: p^2 + 6 p - 12 = 0."""
    found = best_precision(torch.tensor([6.0], dtype=torch.float64), 0.5)
    assert found == pytest.approx(math.sqrt(21) - 3, rel=1e-9)
