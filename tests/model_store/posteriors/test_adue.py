from __future__ import annotations

import torch

from uq4ct.model_store.posteriors.adue import AdueScore, adjusted_logits, head_unsureness
from uq4ct.model_store.uncertainty.binary_platt import BinaryPlatt
from uq4ct.model_store.uncertainty.smooth_maximum import unsureness


def test_letter_rows_are_what_a_changed_copy_of_the_classifier_gives() -> None:
    """L2-SP anchors the copy at the original, so the change is stored."""
    source = torch.Generator().manual_seed(0)
    original, change = torch.randn(4, 6, generator=source), torch.randn(4, 6, generator=source)
    states = torch.randn(5, 6, generator=source)
    features = states.unsqueeze(1).expand(-1, 4, -1)
    found = adjusted_logits(change, states @ original.T, features)
    torch.testing.assert_close(found, (states @ (original + change).T).double(), atol=1e-5, rtol=0)


def test_letters_beyond_the_rows_keep_their_logits_and_fewer_options_use_fewer_rows() -> None:
    head, features = torch.ones(2, 3), torch.ones(1, 4, 3)
    assert adjusted_logits(head, torch.zeros(1, 4), features).tolist() == [[3, 3, 0, 0]]
    assert adjusted_logits(head, torch.zeros(1, 1), features[:, :1]).tolist() == [[3]]


def test_options_share_one_direction_and_absent_ones_stay_absent() -> None:
    head = torch.tensor([1.0, -1.0])
    features = torch.tensor([[[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]]])
    logits = torch.tensor([[0.5, 0.5, -torch.inf]])
    assert adjusted_logits(head, logits, features).tolist() == [[2.5, -1.5, -torch.inf]]


def test_an_untouched_head_leaves_the_runs_own_confidence() -> None:
    source = torch.Generator().manual_seed(1)
    logits, features = 3 * torch.randn(20, 4, generator=source), torch.randn(20, 4, 8, generator=source)
    options = torch.full((20,), 4)
    own = unsureness(logits.double().softmax(dim=-1), options, 100.0)
    assert torch.equal(head_unsureness(torch.zeros(8), logits, features, options, 100.0), own)
    score = AdueScore(torch.zeros(4, 8), 100.0, BinaryPlatt(1.0, 0.0))(logits, features, options)
    torch.testing.assert_close(score.double(), own.clamp(1e-12, 1 - 1e-12), atol=1e-6, rtol=0)
