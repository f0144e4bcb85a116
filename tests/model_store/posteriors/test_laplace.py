"""The linearised predictive: Gaussian draws around the trained weights' logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.model_store.posteriors.kronecker_factors import dense_curvature, random_factors
from uq4ct.model_store.posteriors import laplace as laplace_module
from uq4ct.model_store.posteriors.draws import bank_places
from uq4ct.model_store.posteriors.kronecker import KroneckerFactors, stored_factors
from uq4ct.model_store.posteriors.laplace import LaplaceConfig, antithetic_noise, draw_logits, linearise
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.posteriors.taps import BankTaps, weight_jacobians
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.token_batch import candidate_mask, collate

SCORINGS = [LetterConfig(), ClozeConfig()]


def laplace_tensors(model: Any, rank: int = 3) -> dict[str, Tensor]:
    """The model's own tensors with random factors beside them."""
    source = torch.Generator().manual_seed(9)
    tensors = {name: parameter.detach().clone() for name, parameter in model.adapter_tensors().items()}
    for place in list(bank_places(tensors)):
        for weight in ("A", "B"):
            out, into = tensors[f"{place}.{weight}"].shape
            tensors |= random_factors(out, into, (rank, rank), source).stored(f"{place}.{weight}")
    return tensors


def config(precision: float = 50.0, **changes: Any) -> LaplaceConfig:
    return LaplaceConfig(**{"samples": 40, "prior_precision": precision, "options": 5, "seed": 3, **changes})


def factors_of(tensors: Mapping[str, Tensor]) -> dict[str, KroneckerFactors]:
    names = [f"{place}.{weight}" for place in bank_places(tensors) for weight in ("A", "B")]
    return {name: stored_factors(name, tensors) for name in names}


@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda scoring: scoring.kind)
def test_the_covariance_is_the_dense_one(scoring: Any, tiny_base: Any, make_model: Any, questions: Any) -> None:
    """J P^-1 J' over the banks of a model in float64, each bank's P built and inverted as a matrix."""
    tiny_base.model.double()
    model = make_model(tiny_base, scoring, experts=1, top_k=1, targets=("q_proj", "down_proj")).double()
    factors = {
        name: one.to(torch.device("cpu"), torch.float64) for name, one in factors_of(laplace_tensors(model)).items()
    }
    batch = collate([model.scorer.encode(question) for question in questions])
    through = BankTaps()
    expected = torch.zeros(len(questions), 5, 5, dtype=torch.float64)
    for name, jacobian in weight_jacobians(model(batch, through).logits, through.taps).items():
        flat = jacobian.flatten(2)
        precision = 50.0 * torch.eye(flat.shape[2], dtype=torch.float64) + dense_curvature(factors[name])
        expected += flat @ torch.linalg.solve(precision, flat.mT)
    found = linearise(model, batch, factors, [50.0])
    torch.testing.assert_close(found.covariances[0], expected, rtol=1e-6, atol=1e-8)
    assert torch.equal(found.logits, model(batch).logits.detach())


@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda scoring: scoring.kind)
def test_the_trained_weights_come_back_as_the_prior_narrows(
    scoring: Any, tiny_base: Any, make_model: Any, questions: Any
) -> None:
    """MAP recovery, in float64; and the answer is one softmax of the logits, not the softmax of a softmax."""
    tiny_base.model.double()
    model = make_model(tiny_base, scoring, experts=1, top_k=1).double()
    tensors = laplace_tensors(model)
    encoded = [model.scorer.encode(question) for question in questions]
    batch = collate(encoded)
    with torch.no_grad():
        trained = model(batch).logits
    spreads = []
    for precision in (1e2, 1e6, 1e12, 1e24):
        samples = config(precision).build(tensors).candidate_samples(model, batch).logits
        spreads.append((samples - trained)[:, candidate_mask(batch.options, batch.width)].abs().max().item())
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] > 1e-2
    assert spreads[-1] < 1e-8
    point = Predictor(model, PointPosterior()).answer(encoded)
    narrow = Predictor(model, config(1e24).build(tensors)).answer(encoded)
    for one, other in zip(point, narrow, strict=True):
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-9)
        assert other.epistemic == pytest.approx(0, abs=1e-9)


def test_draws_have_the_mean_and_the_covariance() -> None:
    source = torch.Generator().manual_seed(4)
    root = torch.randn(2, 3, 3, dtype=torch.float64, generator=source)
    logits = torch.tensor([[0.5, -1.0, 2.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    samples = draw_logits(logits, root @ root.mT, antithetic_noise(200_000, 1))
    torch.testing.assert_close(samples.mean(dim=0), logits, rtol=0, atol=1e-9)
    centred = (samples - logits).transpose(0, 1)
    torch.testing.assert_close(centred.mT @ centred / 200_000, root @ root.mT, rtol=0.02, atol=0.05)


@settings(deadline=None, max_examples=40)
@given(options=st.integers(2, 26), width=st.integers(2, 26), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_missing_candidates_change_no_draw(options: int, width: int, scale: float, seed: int) -> None:
    """The draws of a question are the same however wide the batch is, and -inf where it has no option."""
    options = min(options, width)
    source = torch.Generator().manual_seed(seed)
    root = torch.randn(options, options, dtype=torch.float64, generator=source) * scale
    own = torch.randn(1, options, dtype=torch.float64, generator=source)
    logits = torch.full((1, width), -torch.inf, dtype=torch.float64)
    logits[:, :options] = own
    covariance = torch.zeros(1, width, width, dtype=torch.float64)
    covariance[:, :options, :options] = root @ root.T
    noise = antithetic_noise(8, seed)
    wide, alone = draw_logits(logits, covariance, noise), draw_logits(own, (root @ root.T).unsqueeze(0), noise)
    torch.testing.assert_close(wide[:, :, :options], alone, rtol=1e-12, atol=1e-12 * scale)
    assert torch.isneginf(wide[:, :, options:]).all()
    assert not wide.isnan().any()


@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda scoring: scoring.kind)
def test_company_in_a_batch_changes_no_draw(scoring: Any, tiny_base: Any, make_model: Any, questions: Any) -> None:
    """In fp32: to 1e-5 if the draws spread over a few nats, else to 1e-5 of the spread."""
    model = make_model(tiny_base, scoring, experts=1, top_k=1)
    model.freeze()
    tensors = laplace_tensors(model)
    encoded = [model.scorer.encode(question) for question in questions]
    for precision in (1000.0, 0.1):
        posterior, batch = config(precision).build(tensors), collate(encoded)
        with torch.inference_mode():  # as a caller may hold it
            together = posterior.candidate_samples(model, batch).logits
        for index, question in enumerate(encoded):
            alone = posterior.candidate_samples(model, collate([question])).logits[:, 0]
            spread = max(alone.std(dim=0).max().item(), 1.0)
            own = together[:, index, : question.options]
            torch.testing.assert_close(own, alone, rtol=0, atol=1e-5 * spread)


def test_a_batch_in_portions_has_the_same_draws(
    tiny_base: Any, make_model: Any, questions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(tiny_base, experts=4, top_k=2)
    posterior = config(1000.0).build(laplace_tensors(model))
    batch = collate([model.scorer.encode(question) for question in questions])
    whole = posterior.candidate_samples(model, batch)
    monkeypatch.setattr(laplace_module, "JACOBIAN_VALUES", 1)
    portions = posterior.candidate_samples(model, batch)
    torch.testing.assert_close(portions.logits, whole.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(portions.feu, whole.feu, rtol=0, atol=1e-6)


def test_its_memory_is_that_of_factors_and_noise(tiny_base: Any, make_model: Any) -> None:
    """Factors in fp32 as they are stored; noise for 26 options in float64."""
    tensors = laplace_tensors(make_model(tiny_base, experts=1, top_k=1))
    stored = sum(tensor.nbytes for name, tensor in tensors.items() if name.startswith("posterior."))
    assert config(samples=40).build(tensors).memory_bytes == stored + 40 * 26 * 8


def test_the_cost_is_a_forward_and_a_backward_for_each_candidate(
    tiny_base: Any, make_model: Any, questions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the question with the most options, whatever the number of samples."""
    model = make_model(tiny_base, experts=1, top_k=1)
    posterior = config(samples=400).build(laplace_tensors(model))
    backwards = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **named: backwards.append(1) or grad(*args, **named))
    widest = max(questions, key=lambda question: len(question.options))
    logits = posterior.candidate_samples(model, collate([model.scorer.encode(widest)])).logits
    assert logits.shape == (posterior.samples, 1, 5) == (400, 1, 5)
    assert 1 + len(backwards) == config().passes == 6
