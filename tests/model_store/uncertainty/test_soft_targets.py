from __future__ import annotations

import pytest
import torch

from uq4ct.model_store.uncertainty.soft_targets import cross_entropy, prior_share, soften


def test_targets_by_hand() -> None:
    """Two questions and m = 2: half the answer and half the model's probabilities; a padded candidate stays 0."""
    probabilities = torch.tensor([[0.75, 0.25, 0.0], [0.5, 0.25, 0.25]])
    assert soften(probabilities, torch.tensor([1, 0]), 2).tolist() == [[0.375, 0.625, 0.0], [0.75, 0.125, 0.125]]
    assert soften(probabilities, torch.tensor([1, 0]), 0).tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_the_share_falls_with_the_number_of_questions() -> None:
    assert [prior_share(n, 10) for n in (10, 30, 990)] == [0.5, 0.25, 0.01]


def test_the_model_itself_has_the_lowest_loss_under_its_own_probabilities() -> None:
    own, other = torch.tensor([[0.7, 0.3]]), torch.tensor([[0.8, 0.2]])
    entropy = torch.special.entr(own.double()).sum().item()
    assert cross_entropy(own, own).item() == pytest.approx(entropy)
    assert cross_entropy(own, other) > cross_entropy(own, own)


def test_the_loss_and_its_gradient_are_finite_where_a_candidate_is_padded() -> None:
    probabilities = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = cross_entropy(torch.tensor([[1.0, 0.0]]), probabilities)
    loss.backward()
    assert loss.item() == 0
    assert probabilities.grad is not None
    assert probabilities.grad.isfinite().all()


def test_an_answer_that_is_not_a_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"answers must lie in 0\.\.1, not 2"):
        soften(torch.tensor([[0.5, 0.5]]), torch.tensor([2]), 1)
