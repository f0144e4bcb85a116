"""Every posterior that draws weights: sample s of the one forward is a forward with the weights of set s."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from uq4ct.model_store.posteriors import adapter_tensors
from uq4ct.model_store.posteriors.draws import BankDraws, bank_places, generator
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.model_store.posteriors.ensemble import SCALE, EnsembleConfig, stack_members
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.posteriors.rank_mask import RankMaskConfig, gate_name
from uq4ct.model_store.posteriors.weight_gaussian import GaussianConfig, std_name
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.token_batch import candidate_mask, collate

Tensors = dict[str, Tensor]


def point_tensors(model: Any) -> Tensors:
    return {name: parameter.detach().clone() for name, parameter in model.adapter_tensors().items()}


def members(tensors: Mapping[str, Tensor], count: int) -> list[Tensors]:
    source = torch.Generator().manual_seed(5)
    return [
        {name: t + 0.1 * index * torch.randn(t.shape, generator=source) for name, t in tensors.items()}
        for index in range(count)
    ]


def dropout(tensors: Tensors) -> tuple[DropoutConfig, Tensors]:
    return DropoutConfig(samples=3, share=0.3, seed=11), tensors


def ensemble(tensors: Tensors) -> tuple[EnsembleConfig, Tensors]:
    return EnsembleConfig(samples=3), stack_members(members(tensors, 3))


def rank_mask(tensors: Tensors) -> tuple[RankMaskConfig, Tensors]:
    source = torch.Generator().manual_seed(6)
    gates = {
        gate_name(place): torch.rand(len(tensors[f"{place}.A"]), generator=source) for place in bank_places(tensors)
    }
    return RankMaskConfig(samples=3, seed=12), tensors | gates


def weight_gaussian(tensors: Tensors) -> tuple[GaussianConfig, Tensors]:
    stds = {std_name(place): 0.1 * torch.rand_like(tensors[f"{place}.A"]) for place in bank_places(tensors)}
    return GaussianConfig(samples=3, seed=13), tensors | stds


def rank_gaussian(tensors: Tensors) -> tuple[GaussianConfig, Tensors]:
    """One standard deviation for each row of A."""
    stds = {std_name(place): 0.1 * torch.rand(len(tensors[f"{place}.A"]), 1) for place in bank_places(tensors)}
    return GaussianConfig(samples=3, seed=14), tensors | stds


KINDS: list[Callable[[Tensors], tuple[Any, Tensors]]] = [dropout, ensemble, rank_mask, weight_gaussian, rank_gaussian]


def weights_of(draws: Mapping[str, BankDraws], index: int) -> Tensors:
    own = {}
    for place, drawn in draws.items():
        own[f"{place}.A"] = drawn.A[index]
        own[f"{place}.B"] = drawn.B if drawn.B.dim() == 2 else drawn.B[index]
    return own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("experts", [1, 4])
def test_a_sample_is_a_forward_with_its_weights(
    kind: Any, experts: int, tiny_base: Any, make_model: Any, questions: Any
) -> None:
    """For plain and for routed adapters; an ensemble's routers are the first member's, so it is plain."""
    if kind is ensemble and experts > 1:
        return
    model = make_model(tiny_base, experts=experts, top_k=min(2, experts))
    config, tensors = kind(point_tensors(model))
    batch = collate([model.scorer.encode(question) for question in questions])
    samples = config.build(tensors).candidate_samples(model, batch)
    assert samples.logits.shape[0] == config.samples == config.passes
    draws = {place: config.draw(place, tensors) for place in bank_places(tensors)}
    for index in range(config.samples):
        weights = adapter_tensors(tensors) | weights_of(draws, index)
        if kind is ensemble:
            weights[SCALE] = members(adapter_tensors(tensors), 3)[index][SCALE]
        model.load_adapter_tensors(weights)
        with torch.no_grad():
            torch.testing.assert_close(samples.logits[index], model(batch).logits, atol=2e-5, rtol=1e-5)
    spread = samples.logits[0] - samples.logits[1]
    assert spread[candidate_mask(batch.options, batch.width)].abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_that_of_all_sets_of_weights(kind: Any, tiny_base: Any, make_model: Any, questions: Any) -> None:
    model = make_model(tiny_base, experts=1, top_k=1)
    config, tensors = kind(point_tensors(model))
    posterior = config.build(tensors)
    drawn = [config.draw(place, tensors) for place in bank_places(tensors)]
    sizes = [t.nelement() * t.element_size() for draws in drawn for t in (draws.A, draws.B)]
    scales = 4 * config.samples if kind is ensemble else 0  # cloze scoring has one for each member
    assert posterior.memory_bytes == sum(sizes) + scales
    predictor = Predictor(model, posterior)
    own = sum(4 * tensor.nelement() for tensor in adapter_tensors(tensors).values())
    assert predictor.memory_bytes == own + posterior.memory_bytes
    assert Predictor(model, PointPosterior()).memory_bytes == own
    predictor.answer([predictor.encode(question) for question in questions])
    assert predictor.memory_bytes == own + posterior.memory_bytes


def test_memory_of_one_bank_by_hand() -> None:
    """S x A and, for members with their own B, S x B; four bytes per number."""
    tensors = {"x.experts.A": torch.ones(2, 5), "x.experts.B": torch.ones(3, 2)}
    assert DropoutConfig(samples=7, share=0.5, seed=0).build(tensors).memory_bytes == 4 * (7 * 10 + 6)
    stacked = stack_members([tensors] * 6)
    assert EnsembleConfig(samples=6).build(stacked).memory_bytes == 4 * 6 * (10 + 6)


def test_members_stay_what_they_were() -> None:
    """Letter scoring has no scale; under cloze scoring each member has its own."""
    first, second = (
        {"x.experts.A": torch.ones(1, 2), "x.experts.B": torch.zeros(2, 1)},
        {
            "x.experts.A": torch.full((1, 2), 3.0),
            "x.experts.B": torch.ones(2, 1),
        },
    )
    stacked = stack_members([first, second])
    drawn = EnsembleConfig(samples=2).draw("x.experts", stacked)
    assert torch.equal(drawn.A, torch.stack([first["x.experts.A"], second["x.experts.A"]]))
    assert torch.equal(drawn.B, torch.stack([first["x.experts.B"], second["x.experts.B"]]))


def test_dropout_masks_keep_the_mean_and_the_share() -> None:
    tensors = {"x.experts.A": torch.ones(2, 4000), "x.experts.B": torch.ones(3, 2)}
    drawn = DropoutConfig(samples=50, share=0.25, seed=3).draw("x.experts", tensors)
    assert drawn.A.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (drawn.A == 0).double().mean().item() == pytest.approx(0.25, abs=0.005)
    assert torch.equal(drawn.A[:, 0], drawn.A[:, 1])  # a mask is of inputs, so both rows of A have it
    assert not torch.equal(drawn.A[0], drawn.A[1])


def test_rank_masks_are_rows_of_zeros_as_often_as_their_probability_says() -> None:
    probability = torch.linspace(0, 1, 5)
    tensors = {"x.experts.A": torch.ones(5, 3), "x.experts.B": torch.ones(2, 5), gate_name("x.experts"): probability}
    drawn = RankMaskConfig(samples=4000, seed=3).draw("x.experts", tensors)
    assert drawn.A.unique().tolist() == [0, 1]  # kept rows are not scaled
    assert torch.equal(drawn.A[..., 0], drawn.A[..., 2])
    torch.testing.assert_close(drawn.A[..., 0].mean(dim=0), probability, atol=0.03, rtol=0)
    assert not drawn.A[:, 0].any()  # probability 0
    assert drawn.A[:, 4].all()  # probability 1


@pytest.mark.parametrize("columns", [1, 4])
def test_gaussian_draws_have_the_stored_mean_and_deviation(columns: int) -> None:
    mean, std = torch.linspace(-1, 1, 12).view(3, 4), torch.linspace(0, 2, 3 * columns).view(3, columns)
    tensors = {"x.experts.A": mean, "x.experts.B": torch.ones(2, 3), std_name("x.experts"): std}
    drawn = GaussianConfig(samples=20_000, seed=3).draw("x.experts", tensors)
    torch.testing.assert_close(drawn.A.mean(dim=0), mean, atol=0.06, rtol=0)  # 4 standard errors
    torch.testing.assert_close(drawn.A.std(dim=0), std.expand(3, 4), atol=0.06, rtol=0)


def test_numbers_depend_on_seed_and_place_alone() -> None:
    one, same = (torch.rand(4, generator=generator(1, "a")) for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, torch.rand(4, generator=generator(2, "a")))
    assert not torch.equal(one, torch.rand(4, generator=generator(1, "b")))


@pytest.mark.parametrize("scoring", [LetterConfig(), ClozeConfig()])
def test_draws_work_under_both_scorings(scoring: Any, tiny_base: Any, make_model: Any, questions: Any) -> None:
    model = make_model(tiny_base, scoring, experts=1, top_k=1)
    config, tensors = ensemble(point_tensors(model))
    batch = collate([model.scorer.encode(question) for question in questions])
    logits = config.build(tensors).candidate_samples(model, batch).logits
    assert logits.shape == (3, len(questions), int(batch.options.max()))
    assert torch.equal(logits[0].isneginf(), ~candidate_mask(batch.options, batch.width))
