"""Rotated questions, and a model whose letters have a known prior."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.benchmarks.letter_orders import OPTIONS, Rotations, rotate
from uq4ct.model_store.questions import Question


def _rotations(content: Tensor, letters: Tensor) -> Rotations:
    """A model whose logits are those of the option plus those of its letter."""
    logits = [content.roll(-shift, dims=-1) + letters for shift in range(OPTIONS)]
    questions = [Question(id=str(n), text="Which?", options=("a", "b", "c", "d")) for n in range(len(content))]
    return Rotations(questions, torch.stack(logits).log_softmax(dim=-1))


def test_a_rotation_moves_the_answer_with_its_option() -> None:
    question = Question(id="q", text="Which?", options=("a", "b", "c", "d"), answer=1)
    for shift in range(OPTIONS):
        rotated = rotate(question, shift)
        assert rotated.answer is not None
        assert rotated.options[rotated.answer] == "b"
        assert rotated.options[0] == "abcd"[shift]


def test_the_prior_of_letters_is_found_and_removed() -> None:
    torch.manual_seed(0)
    content, letters = torch.randn(7, OPTIONS, dtype=torch.float64), torch.tensor([1.0, 0.0, -0.5, 0.3]).double()
    rotations = _rotations(content, letters)
    prior = rotations.letter_prior(3)
    torch.testing.assert_close(prior, letters.log_softmax(dim=-1))
    torch.testing.assert_close((rotations.as_asked - prior).softmax(dim=-1), content.softmax(dim=-1))


def test_the_mean_over_orders_belongs_to_options() -> None:
    """By hand, for one question: letters alone decide, so each option has every letter once."""
    letters = torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64).log()
    rotations = _rotations(torch.zeros(1, OPTIONS, dtype=torch.float64), letters)
    torch.testing.assert_close(rotations.averaged.exp(), torch.full((1, OPTIONS), 0.25, dtype=torch.float64))
    sure = _rotations(torch.tensor([[0.0, 50.0, 0.0, 0.0]], dtype=torch.float64), letters)
    assert sure.averaged.argmax() == 1
