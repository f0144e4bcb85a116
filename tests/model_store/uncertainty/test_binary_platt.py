from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from uq4ct.model_store.uncertainty.binary_platt import BinaryPlatt, fit_binary_platt


def simulated(seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    odds = 2 * torch.randn(400, generator=source).double()
    event = torch.rand(400, generator=source) < torch.sigmoid(0.6 * odds - 1.5)
    return torch.sigmoid(odds), event


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prior", [0, 10, 400])
def test_the_line_is_that_of_logistic_regression_on_mixed_targets(seed: int, prior: int) -> None:
    """Every row occurs twice, as an event and as a non-event, weighted by its target: Platt's, mixed with the score's.

    The score's odds are shifted so that its mean is that of Platt's targets.
    """
    score, event = simulated(seed)
    positives = int(event.sum())
    negatives = len(event) - positives
    targets = np.where(event.numpy(), (positives + 1) / (positives + 2), 1 / (negatives + 2))
    logits = torch.logit(score).numpy()
    shift = brentq(lambda shift: (expit(logits + shift) - targets).mean(), -20, 20, xtol=1e-12)
    targets = (len(event) * targets + prior * expit(logits + shift)) / (len(event) + prior)
    odds = logits[:, None]
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.vstack([odds, odds]), np.repeat([1, 0], len(odds)), np.concatenate([targets, 1 - targets])
    )
    found = fit_binary_platt(score, event, prior)
    assert found.slope == pytest.approx(reference.coef_.item(), rel=1e-4)
    assert found.intercept == pytest.approx(reference.intercept_.item(), rel=1e-4)


def test_the_mean_probability_is_the_rate_of_the_events() -> None:
    """The fit restores the rate that a balanced sampler removes, up to the 1 / (n + 2) of the targets."""
    score, event = simulated(0)
    assert fit_binary_platt(score, event).apply(score).mean().item() == pytest.approx(
        event.double().mean().item(), abs=0.005
    )


def test_a_threshold_that_parts_the_two_leaves_the_line_finite() -> None:
    found = fit_binary_platt(torch.tensor([0.0, 0.2, 0.6, 1.0]), torch.tensor([False, False, True, True]))
    assert 0 < found.slope < 100
    assert found.apply(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0, 1], abs=0.3)


def test_a_score_that_ranks_the_wrong_way_is_flattened_to_the_rate() -> None:
    score, event = torch.tensor([0.9, 0.8, 0.2, 0.1]), torch.tensor([False, False, True, True])
    found = fit_binary_platt(score, event, prior_events=0)
    assert found.apply(torch.tensor([0.1, 0.9])).tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_four_scores_that_hardly_differ_do_not_give_a_steep_line() -> None:
    """Platt's targets alone would need a slope of 48 to part 0.20 from 0.21."""
    score, event = torch.tensor([0.2, 0.2, 0.21, 0.21]), torch.tensor([False, False, True, True])
    assert fit_binary_platt(score, event, prior_events=0).slope > 30
    assert fit_binary_platt(score, event).slope < 12


def test_one_kind_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes, not 2 positives and 0 negatives"):
        fit_binary_platt(torch.tensor([0.3, 0.4]), torch.tensor([True, True]))


def test_the_identity() -> None:
    scores = torch.tensor([0.1, 0.5, 0.99])
    assert BinaryPlatt(1.0, 0.0).apply(scores).tolist() == pytest.approx(scores.tolist(), abs=1e-7)
