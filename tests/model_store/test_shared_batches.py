"""Questions to several adapters in one forward, compared with each adapter alone."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.on_meta import OnlyMeta
from uq4ct.model_store.answers import Answer
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.model_store.posteriors.mahalanobis import MEANS, WHITENING, MahalanobisConfig
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.posteriors.samples import CandidateSamples
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.published import AdapterHost, PublishedPredictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.shared_batches import answer_together

SHAPES: list[dict[str, Any]] = [
    {},
    {"scoring": LetterConfig()},
    {
        "scoring": ClozeConfig(reduction="sum"),
        "adapter": {"mixing": "renormalised", "feu_tokens": "prompt_and_options"},
    },
    {"adapter": {"experts": 1, "top_k": 1, "targets": ("q_proj", "down_proj")}},
    {"adapter": {"mixing": "raw_with_base"}},
    {"adapter": {"placement": "block", "mixing": "renormalised"}},
]
CLOSE = 1e-5  # other questions in a batch change the last bits of a float32


@pytest.fixture
def host(tiny_base: Any) -> AdapterHost:
    return AdapterHost(tiny_base)


def load(host: AdapterHost, published: Any, **tensors: torch.Tensor) -> PublishedPredictor:
    """Load an adapter with some of its tensors replaced."""
    stored = published.registry.load(published.reference)
    return host.add(replace(stored, tensors={**stored.tensors, **tensors}))


def load_three(host: AdapterHost, publish_tiny: Any, shape: dict[str, Any]) -> list[PublishedPredictor]:
    """Load three adapters of a shape, under cloze scoring with scales of their own."""
    loaded = []
    for seed in (1, 2, 3):
        published = publish_tiny(seed=seed, **shape)
        cloze = isinstance(published.manifest.scoring, ClozeConfig)
        loaded.append(load(host, published, **({"scoring.log_scale": torch.tensor(0.2 * seed)} if cloze else {})))
    return loaded


def assert_close(found: list[Answer], expected: list[Answer]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.option == other.option
        numbers = [[value for value in astuple(answer)[1:] if isinstance(value, float)] for answer in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], abs=CLOSE)
        assert one.probabilities == pytest.approx(other.probabilities, abs=CLOSE)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_adapter_answers_in_company_as_it_does_alone(
    host: AdapterHost, publish_tiny: Any, questions: list[Question], shape: dict[str, Any]
) -> None:
    loaded = load_three(host, publish_tiny, shape)
    assert len({one.company for one in loaded}) == 1
    asked = [questions[:2], questions, questions[1:2]]  # with up to 3, 5 and 2 options
    encoded = [[one.encode(q) for q in own] for one, own in zip(loaded, asked, strict=True)]
    alone = [one.answer(own) for one, own in zip(loaded, encoded, strict=True)]
    together = loaded[0].answer_with(encoded[0], list(zip(loaded[1:], encoded[1:], strict=True)))
    for found, expected in zip(together, alone, strict=True):
        assert_close(found, expected)
    same = [one.answer([one.encode(questions[1])])[0].confidence for one in loaded]
    assert min(abs(same[0] - same[1]), abs(same[1] - same[2])) > 100 * CLOSE
    assert [one.answer(own) for one, own in zip(loaded, encoded, strict=True)] == alone  # nothing has changed


def test_the_base_models_products_are_computed_once(
    host: AdapterHost, publish_tiny: Any, questions: list[Question]
) -> None:
    loaded = load_three(host, publish_tiny, {})
    encoded = [[one.encode(question) for question in questions] for one in loaded]
    rows: list[int] = []
    linear = host.base.model.get_submodule("model.layers.1.self_attn.q_proj.base_layer")
    linear.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[-2]))
    loaded[0].answer_with(encoded[0], list(zip(loaded[1:], encoded[1:], strict=True)))
    (tokens,) = rows
    assert tokens >= sum(question.length for own in encoded for question in own)


def test_a_shared_forward_waits_for_nothing_on_its_device(
    host: AdapterHost, publish_tiny: Any, questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the device `meta`, whatever reads a value before the answers are fetched raises."""
    loaded = load_three(host, publish_tiny, {})
    fetched: list[torch.device] = []

    def fetch(samples: CandidateSamples) -> CandidateSamples:
        fetched.append(samples.logits.device)
        count = samples.logits.shape[1]
        return CandidateSamples(torch.zeros(samples.logits.shape), torch.zeros(count, dtype=torch.float64))

    monkeypatch.setattr(CandidateSamples, "on_cpu", fetch)
    encoded = [[one.encode(question) for question in questions] for one in loaded]
    nn.Module.to(host.base.model, "meta")
    for one in loaded:
        one.predictor.model.scorer.to("meta")
    with OnlyMeta():
        loaded[0].answer_with(encoded[0], list(zip(loaded[1:], encoded[1:], strict=True)))
    assert fetched == [torch.device("meta")] * 3


def test_posteriors_with_and_without_an_error_score_share_a_batch(
    host: AdapterHost, publish_tiny: Any, questions: list[Question]
) -> None:
    score = {MEANS: torch.randn(3, 32), WHITENING: torch.eye(32)}
    other = {MEANS: torch.randn(2, 32), WHITENING: 2 * torch.eye(32)}
    scored = {"posterior": MahalanobisConfig(shrinkage=0.1)}
    loaded = [
        load(host, publish_tiny(seed=2)),
        load(host, publish_tiny(seed=1, **scored), **score),
        load(host, publish_tiny(seed=3, **scored), **other),
    ]
    encoded = [[one.encode(question) for question in questions] for one in loaded]
    together = loaded[0].answer_with(encoded[0], list(zip(loaded[1:], encoded[1:], strict=True)))
    for one, own, found in zip(loaded, encoded, together, strict=True):
        expected = one.answer(own)
        for mine, its in zip(found, expected, strict=True):
            assert (mine.error_score is None) == (one is loaded[0])
            assert mine.error_score == (None if its.error_score is None else pytest.approx(its.error_score, rel=1e-4))
        assert_close([replace(a, error_score=None) for a in found], [replace(a, error_score=None) for a in expected])


def test_what_differs_in_shape_scoring_or_kind_of_posterior_is_not_mixed(
    host: AdapterHost, publish_tiny: Any, questions: list[Question]
) -> None:
    differing = [*SHAPES, {"adapter": {"rank": 3}}, {"adapter": {"alpha": 3.0}}, {"adapter": {"top_k": 1}}]
    loaded = [load(host, publish_tiny(**shape)) for shape in differing]
    assert len({one.company for one in loaded}) == len(differing)
    drawn = load(host, publish_tiny(posterior=DropoutConfig(samples=2, share=0.1, seed=0)))
    assert drawn.company is None
    assert load(host, publish_tiny(scoring=ClozeConfig(max_tokens=64))).company == loaded[0].company
    encoded = [loaded[0].encode(questions[0])]
    for other in (loaded[1], drawn):
        with pytest.raises(ValueError, match="cannot share a forward"):
            loaded[0].answer_with(encoded, [(other, encoded)])


def test_a_point_posterior_with_other_banks_is_never_mixed(
    tiny_base: Any, make_model: Any, questions: list[Question]
) -> None:
    def plain(place: str, bank: Any, inputs: Any, base_output: Any, gates: Any) -> Any:
        return bank(inputs, base_output, gates)

    predictor = Predictor(make_model(tiny_base), PointPosterior(plain))
    with pytest.raises(ValueError, match="cannot share a forward"):
        answer_together([(predictor, [predictor.encode(questions[0])])])
