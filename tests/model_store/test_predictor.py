from __future__ import annotations

import math
import shutil

import pytest
import torch

from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.calibrations import NoCalibration, TemperatureCalibration
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import (
    Predictor,
    answers_from_samples,
    batches_by_length,
    score_batch,
    score_in_batches,
)
from uq4ct.model_store.published import WrongBaseError, load_predictor, predictor_on_base
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.token_batch import collate


def temperature(value):
    return TemperatureCalibration(value=value, questions=4, nll_before=1, nll_after=1, at_bound=False)


def _softmax(logits, temperature=1.0):
    weights = [math.exp(logit / temperature) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def _entropy(probabilities):
    return -sum(p * math.log(p) for p in probabilities if p > 0)


@pytest.fixture
def predictor(tiny_base, make_model):
    return Predictor(make_model(tiny_base), PointPosterior(), temperature(1.7))


def test_answers_are_the_softmax_at_the_temperature_by_hand(tiny_base, make_model, questions):
    model = make_model(tiny_base)
    with torch.no_grad():
        output = model(collate([model.scorer.encode(question) for question in questions]))
    predictor = Predictor(model, PointPosterior(), temperature(1.7))
    answers = predictor.answer([predictor.encode(question) for question in questions])
    for question, answer, logits, feu in zip(questions, answers, output.logits, output.feu, strict=True):
        by_hand = _softmax(logits[: len(question.options)].tolist(), 1.7)
        assert answer.probabilities == pytest.approx(by_hand, abs=1e-6)
        assert answer.option == by_hand.index(max(by_hand))
        assert answer.confidence == answer.probabilities[answer.option]
        assert answer.feu == pytest.approx(float(feu), abs=1e-7)
        assert answer.total == pytest.approx(_entropy(by_hand), abs=1e-6)
        assert answer.aleatoric is None  # one pass cannot separate the two
        assert answer.epistemic is None


def test_two_samples_average_probabilities_and_part_the_entropy():
    logits = torch.tensor([[[2.0, 0.0, -math.inf]], [[-1.0, 1.0, -math.inf]]])
    (answer,) = answers_from_samples(CandidateSamples(logits, None), [2], temperature(2.0))
    one, two = _softmax([2.0, 0.0], 2.0), _softmax([-1.0, 1.0], 2.0)
    mean = [(a + b) / 2 for a, b in zip(one, two, strict=True)]
    assert answer.probabilities == pytest.approx(mean)
    assert answer.feu is None
    assert answer.total == pytest.approx(_entropy(mean))
    assert answer.aleatoric == pytest.approx((_entropy(one) + _entropy(two)) / 2)
    assert answer.aleatoric is not None
    assert answer.epistemic == pytest.approx(answer.total - answer.aleatoric)
    assert answer.total - answer.aleatoric > 0.1


def test_of_equal_options_the_first_is_chosen():
    (answer,) = answers_from_samples(CandidateSamples(torch.zeros(1, 1, 3), torch.tensor([0.4])), [3], NoCalibration())
    assert answer.option == 0
    assert answer.feu == pytest.approx(0.4)


def test_making_a_predictor_readies_the_model(tiny_base, make_model, questions):
    model = make_model(tiny_base, training=True, dropout=0.5)
    predictor = Predictor(model, PointPosterior())
    encoded = [predictor.encode(question) for question in questions]
    assert predictor.answer(encoded) == predictor.answer(encoded)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_scores_of_a_batch_leave_the_model_in_training(tiny_base, make_model, questions):
    model = make_model(tiny_base, training=True)
    encoded = [model.scorer.encode(question) for question in questions]
    samples = score_batch(model, PointPosterior(), encoded)
    assert samples.logits.shape == (1, 4, 5)
    assert model.training
    assert model(collate(encoded)).logits.requires_grad


@pytest.mark.parametrize("scoring", [ClozeConfig(reduction="sum"), LetterConfig()], ids=lambda scoring: scoring.kind)
def test_a_stored_adapter_answers_as_it_did_before(publish_tiny, questions, scoring):
    published = publish_tiny(scoring=scoring)
    before = Predictor(published.model, PointPosterior(), published.manifest.calibration)
    loaded = load_predictor(published.reference, published.registry.root, device="cpu", dtype="float32")
    assert loaded.manifest == published.manifest
    assert loaded.token_limit == before.token_limit == 512
    encoded = [loaded.encode(question) for question in questions]
    assert encoded == [before.encode(question) for question in questions]
    assert loaded.answer(encoded) == before.answer(encoded)


def test_an_uncalibrated_adapter_answers_at_temperature_one(publish_tiny, questions):
    published = publish_tiny(calibration=NoCalibration())
    before = Predictor(published.model, PointPosterior())
    loaded = load_predictor(published.reference, published.registry.root, device="cpu", dtype="float32")
    encoded = [loaded.encode(question) for question in questions]
    assert loaded.answer(encoded) == before.answer(encoded)


def test_an_adapter_without_routers_answers_without_feu(publish_tiny, questions):
    published = publish_tiny(adapter={"experts": 1, "top_k": 1})
    loaded = load_predictor(published.reference, published.registry.root, device="cpu", dtype="float32")
    (answer,) = loaded.answer([loaded.encode(questions[0])])
    assert answer.feu is None
    assert sum(answer.probabilities) == pytest.approx(1)


def test_another_base_model_is_refused(publish_tiny, make_base_folder, tmp_path):
    published = publish_tiny()
    other = load_base_model(str(make_base_folder(tmp_path / "other", seed=9)), device="cpu", dtype="float32")
    places = [name for name, _ in other.model.named_modules()]
    with pytest.raises(WrongBaseError, match=r"tiny@1 was trained on .* digest sha256:.* but the loaded .*other has"):
        predictor_on_base(published.registry.load(published.reference), other)
    assert [name for name, _ in other.model.named_modules()] == places
    assert issubclass(WrongBaseError, StoreError)


def test_a_base_folder_that_changed_since_is_refused(make_base_folder, publish_tiny, tmp_path, tiny_folder):
    published = publish_tiny()
    moved = shutil.copytree(tiny_folder, tmp_path / "moved")
    stored = published.registry.load(published.reference)
    assert predictor_on_base(
        stored, load_base_model(str(moved), device="cpu", dtype="float32")
    )  # its place is no matter
    (moved / "config.json").write_text((moved / "config.json").read_text() + "\n")
    with pytest.raises(WrongBaseError):
        predictor_on_base(stored, load_base_model(str(moved), device="cpu", dtype="float32"))


def test_a_question_that_is_too_long_is_an_error_with_both_numbers(predictor):
    assert predictor.token_limit == 512
    with pytest.raises(QuestionTooLongError) as caught:
        predictor.encode(Question("q", "long " * 600, ("a", "b")))
    assert caught.value.length > caught.value.limit == 512


@pytest.mark.parametrize("batch_tokens", [1, 40, 90, 10_000])
def test_scores_come_back_in_the_questions_order(tiny_base, make_model, questions, batch_tokens):
    model = make_model(tiny_base)
    asked = [*questions, *(Question("r", "Which?", tuple(f"{n}" for n in range(count))) for count in (9, 2, 7))]
    encoded = [model.scorer.encode(question) for question in asked]
    done = []
    posterior = PointPosterior()
    scored = score_in_batches(lambda batch: score_batch(model, posterior, batch), encoded, batch_tokens, done.append)
    assert sum(done) == len(asked)
    assert scored.logits.shape == (1, 7, 9)
    for index, question in enumerate(encoded):
        alone = score_batch(model, posterior, [question])
        row = scored.logits[0, index]
        torch.testing.assert_close(row[: question.options], alone.logits[0, 0], rtol=0, atol=1e-5)
        assert torch.isneginf(row[question.options :]).all()
        assert scored.feu is not None
        assert alone.feu is not None
        torch.testing.assert_close(scored.feu[index], alone.feu[0], rtol=0, atol=1e-6)


def test_scores_without_routers_have_no_feu(tiny_base, make_model, questions):
    model = make_model(tiny_base, experts=1, top_k=1)
    encoded = [model.scorer.encode(question) for question in questions]
    posterior = PointPosterior()
    assert score_in_batches(lambda batch: score_batch(model, posterior, batch), encoded, 50).feu is None


@pytest.mark.parametrize("batch_tokens", [1, 40, 60, 10_000])
def test_batches_hold_every_question_once_and_keep_to_their_tokens(predictor, questions, batch_tokens):
    encoded = [predictor.encode(question) for question in questions * 3]
    batches = list(batches_by_length(encoded, batch_tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(12))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(encoded[index].length for index in batch) <= batch_tokens
    assert len(batches) == {1: 12, 10_000: 1}.get(batch_tokens, len(batches))
