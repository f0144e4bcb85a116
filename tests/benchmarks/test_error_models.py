"""Logistic models of errors on simulated answers whose truth is known."""

from __future__ import annotations

import torch

from tests.benchmarks.error_models import FOLDS, cross_fitted, fit_logistic


def test_the_fit_finds_the_weights_that_made_the_answers() -> None:
    torch.manual_seed(0)
    columns = torch.randn(20_000, 2, dtype=torch.float64)
    truth = torch.tensor([1.5, -0.7, 0.3], dtype=torch.float64)
    right = torch.rand(len(columns), dtype=torch.float64) < (columns @ truth[:2] + truth[2]).sigmoid()
    torch.testing.assert_close(fit_logistic(columns, right), truth, atol=0.08, rtol=0)


def test_columns_that_separate_answers_keep_their_weights_finite() -> None:
    columns = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]], dtype=torch.float64)
    weights = fit_logistic(columns, torch.tensor([False, False, True, True]))
    assert weights.isfinite().all()
    assert weights[0] > 2


def test_an_answer_is_judged_by_a_model_that_has_not_seen_it() -> None:
    """With noise alone, a model of many columns fits its own answers, and does not help with the others."""
    torch.manual_seed(1)
    columns, right = torch.randn(200, 30, dtype=torch.float64), torch.rand(200) < 0.5
    found = cross_fitted(columns, right, torch.arange(200) % FOLDS)
    nll = -torch.where(right, found, 1 - found).log().mean()
    assert nll > 0.7  # log 2 = 0.693 knows nothing
