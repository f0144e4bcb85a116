from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor

from uq4ct.model_store.posteriors.mahalanobis import (
    MEANS,
    WHITENING,
    MahalanobisConfig,
    MahalanobisScore,
    fit_class_gaussians,
    ledoit_wolf,
)


def simulated(rows: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features of 3 classes (0, 2, 3) with one covariance."""
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=source) + torch.eye(width)
    classes = torch.tensor([0, 2, 3])[torch.randint(3, (rows,), generator=source)]
    means = 2 * torch.randn(4, width, generator=source)
    return means[classes] + torch.randn(rows, width, generator=source) @ mixing, classes


@pytest.mark.parametrize(("rows", "width"), [(200, 5), (30, 40), (8, 3), (1000, 12)])
def test_the_covariance_is_that_of_scikit_learn(rows: int, width: int) -> None:
    features = simulated(rows, width)[0].double()
    centred = features - features.mean(dim=0)
    covariance, shrinkage = ledoit_wolf(centred)
    reference = LedoitWolf(assume_centered=True).fit(centred.numpy())
    assert shrinkage == pytest.approx(reference.shrinkage_, abs=1e-12)
    np.testing.assert_allclose(covariance.numpy(), reference.covariance_, atol=1e-10)


@pytest.mark.parametrize(("rows", "width"), [(200, 5), (30, 40)])
def test_distances_are_those_of_scikit_learns_precision(rows: int, width: int) -> None:
    features, classes = simulated(rows, width)
    found = fit_class_gaussians(features, classes)
    names, own = np.unique(classes.numpy(), return_inverse=True)
    means = np.stack([features.double().numpy()[classes.numpy() == name].mean(axis=0) for name in names])
    reference = LedoitWolf(assume_centered=True).fit(features.double().numpy() - means[own])
    asked = torch.randn(7, 2, width, generator=torch.Generator().manual_seed(3))
    logits = torch.tensor([[0.0, 1.0]] * 4 + [[1.0, -torch.inf]] * 3)
    score = MahalanobisScore(found.means, found.whitening)(logits, asked, torch.tensor([2] * 4 + [1] * 3))
    for row, chosen, value in zip(asked.double().numpy(), [1] * 4 + [0] * 3, score.tolist(), strict=True):
        differences = row[chosen] - means
        distances = np.einsum("kd,de,ke->k", differences, np.asarray(reference.precision_), differences)
        assert value == pytest.approx(distances.min(), rel=1e-3)


def test_a_class_mean_is_at_distance_0_and_what_is_unlike_all_classes_is_far() -> None:
    features, classes = simulated(300, 6)
    found = fit_class_gaussians(features, classes)
    score = MahalanobisScore(found.means, found.whitening)
    logits, options = torch.zeros(3, 1), torch.ones(3, dtype=torch.long)
    assert score(logits, found.means.unsqueeze(1), options).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    inside = score(torch.zeros(300, 1), features.unsqueeze(1), torch.ones(300, dtype=torch.long))
    outside = score(torch.zeros(300, 1), 50 + features.unsqueeze(1), torch.ones(300, dtype=torch.long))
    assert outside.min() > inside.max()


def test_the_distance_within_one_class_is_chi_squared() -> None:
    """Its mean is the number of directions."""
    features, _ = simulated(2000, 6)
    found = fit_class_gaussians(features, torch.zeros(2000, dtype=torch.long))
    score = MahalanobisScore(found.means, found.whitening)
    distances = score(torch.zeros(2000, 1), features.unsqueeze(1), torch.ones(2000, dtype=torch.long))
    assert distances.mean().item() == pytest.approx(6, rel=0.05)


def test_it_is_built_from_what_is_stored_and_says_what_it_takes() -> None:
    stored = {MEANS: torch.zeros(3, 5), WHITENING: torch.eye(5), "scoring.log_scale": torch.zeros(())}
    assert MahalanobisConfig(shrinkage=0.1).build(stored).memory_bytes == 4 * (15 + 25)


def test_features_that_do_not_vary_are_refused() -> None:
    with pytest.raises(ValueError, match="3 features of 3 classes do not vary"):
        fit_class_gaussians(torch.randn(3, 4), torch.arange(3))
