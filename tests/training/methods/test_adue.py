"""The head of AdUE on simulated features: its loss, what it finds, and how its sampler affects calibration."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console
from torch import Tensor

from uq4ct.model_store.posteriors.adue import head_unsureness
from uq4ct.model_store.uncertainty.binary_platt import fit_binary_platt
from uq4ct.model_store.uncertainty.calibration_error import expected_calibration_error, noise_floor
from uq4ct.model_store.uncertainty.ranking import auroc
from uq4ct.training.methods.adue import AdueOptions, divide, head_loss, train_head, warn_if_few
from uq4ct.training.methods.base import FittingError
from uq4ct.training.methods.features import ScoredQuestions

SHARPNESS = 100.0
FAST = AdueOptions(learning_rate=0.02, anchor=0.001, confidence=0.01, epochs=40, batch_questions=64)


def simulated(count: int, seed: int) -> ScoredQuestions:
    """Simulate a run that overrates an option by 10 nats if its feature is high in the first of 4 directions.

    The second direction contains the run's own logits, as hidden states do; a fifth of its answers are wrong.
    """
    source = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 4, 4, generator=source)
    features[..., 0] = (features[..., 0] > 1.5).float()
    truth = 6 * torch.randn(count, 4, generator=source)
    logits = truth + 10 * features[..., 0]
    features[..., 1] = logits / 2
    answers = torch.multinomial(truth.softmax(dim=-1), 1, generator=source).squeeze(1)
    return ScoredQuestions(logits, features, torch.full((count,), 4), answers)


def unsure(head: Tensor, questions: ScoredQuestions) -> Tensor:
    return head_unsureness(head, questions.logits, questions.features, questions.options, SHARPNESS)


@pytest.fixture(scope="module")
def fitted() -> tuple[Tensor, ScoredQuestions]:
    """A head fitted on one part of 3,000 questions, and the other part."""
    questions = simulated(3000, 0)
    trained, held_out = (questions.rows(part) for part in divide(questions.wrong, 0.6, 0))
    return train_head(trained, held_out, torch.zeros(4), FAST, seed=0), held_out


def test_the_head_finds_the_direction_in_which_the_run_errs(fitted: tuple[Tensor, ScoredQuestions]) -> None:
    head, _ = fitted
    test = simulated(4000, 1)
    before, after = auroc(unsure(torch.zeros(4), test), test.wrong), auroc(unsure(head, test), test.wrong)
    assert before is not None
    assert after is not None
    assert after > before + 0.1
    assert head[0] < -1
    assert head[2:].abs().max() < 0.1


def test_platt_repairs_what_the_balanced_sampler_does(fitted: tuple[Tensor, ScoredQuestions]) -> None:
    """A fifth of the answers are wrong, but half of those sampled, so U is too high by 0.17; Platt corrects it."""
    head, held_out = fitted
    test = simulated(4000, 2)
    raw = unsure(head, test)
    probability = fit_binary_platt(unsure(head, held_out), held_out.wrong).apply(raw)
    before, after = (expected_calibration_error(score, test.wrong) for score in (raw, probability))
    rate = test.wrong.double().mean().item()
    assert raw.mean().item() > rate + 0.1
    assert probability.mean().item() == pytest.approx(rate, abs=0.02)
    assert before > 0.1
    assert after < before / 4
    assert after < 2 * noise_floor(probability).p95
    assert auroc(probability, test.wrong) == pytest.approx(auroc(raw, test.wrong), abs=1e-9)


def test_an_anchored_head_keeps_the_runs_own_ranking() -> None:
    """With a huge beta, U is 1 - max p up to the smooth maximum and the division by 1 - 1 / C."""
    questions = simulated(400, 3)
    trained, held_out = (questions.rows(part) for part in divide(questions.wrong, 0.6, 0))
    options = AdueOptions(anchor=1e6, learning_rate=1e-4, epochs=5)
    head = train_head(trained, held_out, torch.zeros(4), options, seed=0)
    confidence = held_out.logits.double().softmax(dim=-1).amax(dim=-1)
    torch.testing.assert_close(unsure(head, held_out), (1 - confidence) / 0.75, atol=0.02, rtol=0)


def test_the_loss_by_hand() -> None:
    """One question of two options, p = (0.8, 0.2), wrong, with a head that changes nothing."""
    logits = torch.tensor([[0.8, 0.2]]).log()
    question = ScoredQuestions(logits, torch.zeros(1, 2, 2), torch.tensor([2]), torch.tensor([1]))
    options = AdueOptions(sharpness=1e6, confidence=0.5, anchor=0.25)
    found = head_loss(torch.tensor([2.0, 0.0]), question, options)
    # U = 0.2 / 0.5 = 0.4; BCE = -ln 0.4; alpha (0.4 - 0.2)^2; beta 2^2
    expected = -torch.tensor(0.4).double().log() + 0.5 * 0.04 + 0.25 * 4
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_gradients_are_those_of_finite_differences(shape: tuple[int, ...]) -> None:
    source = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 4, generator=source).double()
    logits[0, 2:] = -torch.inf
    options = torch.tensor([2, 4, 4, 4, 4, 4])
    features = torch.randn(6, 4, 3, generator=source).double()
    questions = ScoredQuestions(logits, features, options, torch.tensor([0, 1, 2, 3, 0, 1]))
    head = torch.randn(shape, generator=source).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda h: head_loss(h, questions, AdueOptions(sharpness=10.0)), head)


def test_the_parts_are_stable_disjoint_and_each_has_its_share_of_errors() -> None:
    wrong = torch.arange(50) % 5 == 0
    first, second = divide(wrong, 0.6, 7)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(50))
    assert (len(first), int(wrong[first].sum())) == (30, 6)
    again, other = divide(wrong, 0.6, 7)[0], divide(wrong, 0.6, 8)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("errors", "name"), [(0, "wrong"), (1, "wrong"), (9, "right"), (10, "right")])
def test_a_split_without_two_of_a_kind_is_refused(errors: int, name: str) -> None:
    with pytest.raises(FittingError, match=f"at least 2 {name} answers; the fit split of 10 questions has [01]"):
        divide(torch.arange(10) < errors, 0.5, 0)


def test_the_same_seed_gives_the_same_head() -> None:
    questions = simulated(200, 4)
    trained, held_out = (questions.rows(part) for part in divide(questions.wrong, 0.6, 0))
    options = FAST.model_copy(update={"epochs": 3})
    one, same = (train_head(trained, held_out, torch.zeros(4), options, seed=5) for _ in range(2))
    assert torch.equal(one, same)


def test_probabilities_that_are_fitted_on_few_questions_are_warned_of() -> None:
    console = Console(record=True, width=60)
    warn_if_few(29, console)
    warn_if_few(30, console)
    assert console.export_text() == (
        "warning: the probabilities of the error score are fitted on 29 questions, fewer than 30\n"
    )
