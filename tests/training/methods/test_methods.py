"""Tests for all methods: they learn, answer the same after storing, and meet the contract of a posterior."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import httpx2
import pytest
import torch
from rich.console import Console

from tests.benchmarks.served import running_service
from tests.on_meta import OnlyMeta
from tests.training.conftest import MakeConfig
from tests.training.methods.asking import nll, samples_of
from tests.training.methods.method_table import SETTINGS
from tests.training.publishing import publish_tiny_run
from tests.training.whole_runs import losses_of
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.published import PublishedPredictor, load_predictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.manifest import parse_manifest
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.token_batch import collate
from uq4ct.training.data.loading import load_splits
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import TrainedMethod
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.new_model import load_base_of, make_model
from uq4ct.training.runs.train import train_run

EPOCHS = 3
FolderOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig) -> FolderOf:
    """Return the folder of a finished run of a method; runs that several methods need are trained once.

    What the run printed is beside it, in `METHOD.txt`.
    """
    root = tmp_path_factory.mktemp("methods")

    @cache
    def train(method: str) -> Path:
        settings = SETTINGS.get(method, {})
        sections = {"training": {"epochs": EPOCHS, **settings.get("training", {})}}
        config = make_config(method, **(settings | sections))
        console = Console(record=True, width=200, file=io.StringIO())
        train_run(config, root / method, console, shared=root / "shared")
        (root / f"{method}.txt").write_text(console.export_text())
        return root / method

    return train


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def published(folder_of: FolderOf, registry: Registry, quiet: Console) -> Callable[[str], PublishedPredictor]:
    """Publish a method's run and load it as the service does."""

    @cache
    def publish(method: str) -> PublishedPredictor:
        manifest = publish_tiny_run(folder_of(method), registry, quiet).manifest
        return load_predictor(manifest.reference, registry.root, dtype=manifest.dtype)

    return publish


def predictor_of(folder: Path) -> tuple[Predictor, list[Question]]:
    run = load_run(folder)
    splits, _ = load_splits(run.config.data)
    return Predictor(run.model, run.result.posterior.build(run.tensors)), list(splits.test)


@pytest.mark.parametrize("method", sorted(METHODS))
class TestMethod:
    def test_learns(self, method: str, folder_of: FolderOf) -> None:
        """The NLL of the training questions falls by at least a third, whatever is fitted after the steps."""
        run = load_run(folder_of(method))
        train = list(load_splits(run.config.data)[0].train)
        trained = nll(Predictor(run.model, run.result.posterior.build(run.tensors)), train)
        untrained = nll(Predictor(make_model(run.config, load_base_of(run.config)), PointPosterior()), train)
        assert trained < untrained * 2 / 3

    def test_answers_are_distributions_and_their_entropies_add_up(self, method: str, folder_of: FolderOf) -> None:
        """The test split has questions of 2, 3 and 4 options."""
        predictor, questions = predictor_of(folder_of(method))
        assert {len(question.options) for question in questions} == {2, 3, 4}
        answers = predictor.answer([predictor.encode(question) for question in questions])
        sampled = load_run(folder_of(method)).result.posterior.passes > 1
        for question, answer in zip(questions, answers, strict=True):
            assert len(answer.probabilities) == len(question.options)
            assert sum(answer.probabilities) == pytest.approx(1, abs=1e-12)
            assert (answer.epistemic is not None) >= sampled
            if answer.epistemic is not None and answer.aleatoric is not None:
                assert answer.epistemic >= 0
                assert answer.aleatoric + answer.epistemic == pytest.approx(answer.total, abs=1e-9)

    def test_company_in_a_batch_changes_no_logit(self, method: str, folder_of: FolderOf) -> None:
        predictor, questions = predictor_of(folder_of(method))
        alone, together = samples_of(predictor, questions, 1), samples_of(predictor, questions, 100_000)
        torch.testing.assert_close(together.logits, alone.logits, atol=1e-5, rtol=0)
        if alone.error_score is not None:
            torch.testing.assert_close(together.error_score, alone.error_score, atol=1e-3, rtol=1e-4)

    def test_the_same_seed_gives_the_same_answers(self, method: str, folder_of: FolderOf) -> None:
        """Load twice and ask twice, with a random draw in between."""
        (one, questions), (other, _) = predictor_of(folder_of(method)), predictor_of(folder_of(method))
        first = samples_of(one, questions, 500)
        torch.rand(7)
        again = samples_of(one, questions, 500)
        assert torch.equal(first.logits, again.logits)
        assert torch.equal(first.logits, samples_of(other, questions, 500).logits)

    def test_what_is_stored_answers_as_the_run_does(
        self, method: str, folder_of: FolderOf, published: Callable[[str], PublishedPredictor]
    ) -> None:
        stored = published(method)
        predictor, questions = predictor_of(folder_of(method))
        run, read = (samples_of(p, questions, 500) for p in (predictor, stored.predictor))
        assert torch.equal(run.logits, read.logits)
        assert (run.error_score is None) == (read.error_score is None)
        if run.error_score is not None and read.error_score is not None:
            assert torch.equal(run.error_score, read.error_score)
        manifest = stored.manifest
        assert manifest.posterior.samples == len(read.logits)
        assert manifest.posterior.has_error_score is (read.error_score is not None)
        assert manifest.method == method
        assert parse_manifest(manifest.to_json(), Path("manifest.json")) == manifest
        assert manifest.decisions.sets is not None

    def test_a_forward_waits_for_nothing_on_its_device(self, method: str, folder_of: FolderOf) -> None:
        """On the device `meta`, whatever reads a value raises, and so does a tensor left on the CPU."""
        predictor, questions = predictor_of(folder_of(method))
        model, posterior = predictor.model.to("meta"), predictor.posterior
        posterior.place(model.device, model.dtype)
        batch = collate([predictor.encode(question) for question in questions])
        with OnlyMeta():
            samples = posterior.candidate_samples(model, batch)
        assert samples.logits.is_meta
        assert samples.logits.shape == (posterior.samples, len(questions), 4)
        assert samples.feu is None or samples.feu.is_meta
        assert samples.error_score is None or samples.error_score.is_meta


@pytest.mark.parametrize("method", ["mahalanobis", "adue"])
def test_an_error_score_comes_with_the_answers_of_the_lora_run(
    method: str, folder_of: FolderOf, published: Callable[[str], PublishedPredictor]
) -> None:
    """Option, confidence and probabilities are those of the LoRA run; the stored adapter gives the same score."""
    predictor, questions = predictor_of(folder_of(method))
    plain, _ = predictor_of(folder_of("lora"))
    stored = published(method)
    encoded = [predictor.encode(question) for question in questions]
    scores = [answer.error_score for answer in stored.answer(encoded)]
    answers = predictor.answer(encoded)
    assert [answer.error_score for answer in answers] == scores
    assert all(score is not None and score >= 0 for score in scores)
    assert [replace(answer, error_score=None) for answer in answers] == plain.answer(encoded)
    assert stored.manifest.scores_after.auroc_error_score is not None


@pytest.mark.slow
def test_a_running_service_answers_with_every_method(
    published: Callable[[str], PublishedPredictor], registry: Registry
) -> None:
    """Over HTTP, in fp32, all methods in one process give the predictor's answers."""
    stored = {method: published(method) for method in METHODS}
    question = Question(id="q", text="Colour of the dog number 5?", options=("red", "blue", "white"))
    with running_service(registry.root, DTYPE="float32", DEFAULT_MODEL="tiny@1") as service:
        for method, predictor in stored.items():
            (expected,) = predictor.answer([predictor.encode(question)])
            body = {"question": question.text, "options": question.options, "model": predictor.manifest.reference}
            reply = httpx2.post(f"{service.address}/predict", json=body, timeout=60)
            assert reply.status_code == 200, reply.text
            found = reply.json()
            assert found["method"] == method
            served = [row["probability"] for row in found["probabilities"]]
            assert served == pytest.approx(expected.probabilities, abs=1e-6)
            assert found["feu"] == pytest.approx(expected.feu, abs=1e-6)
            assert found["uncertainty"]["total"] == pytest.approx(expected.total, abs=1e-6)
            assert found["uncertainty"]["epistemic"] == pytest.approx(expected.epistemic, abs=1e-6)
            assert found["uncertainty"]["error_score"] == pytest.approx(expected.error_score, abs=1e-3)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if isinstance(method, TrainedMethod)])
def test_the_loss_falls(method: str, folder_of: FolderOf) -> None:
    losses = losses_of(folder_of(method))
    assert len(losses) == EPOCHS * 8
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_a_run_warns_of_an_error_score_that_is_fitted_on_few_questions(folder_of: FolderOf) -> None:
    said = folder_of("adue").with_suffix(".txt").read_text()
    assert said.count("warning: the probabilities of the error score are fitted on ") == 1
