"""Whole runs on a tiny base: they learn, resume bit-identically, and reject anything that would mix up runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.tiny_base import with_template
from tests.training.conftest import MakeConfig
from tests.training.whole_runs import check_resumed, losses_of
from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.token_batch import TokenBatch
from uq4ct.training.data.batches import TrainingBatch, TrainingQuestion, forwards
from uq4ct.training.data.loading import load_splits
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import Forward, LossTerms, TrainedMethod
from uq4ct.training.run_config import ConfigError, RunConfig
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.loop import LOG_FILE, DivergedError
from uq4ct.training.runs.new_model import make_model
from uq4ct.training.runs.records import RunError
from uq4ct.training.runs.train import train_run


def uq4ct_losses(model: AdaptedModel, batch: TrainingBatch, config: RunConfig) -> LossTerms:
    """Return the losses of one forward in the first step."""
    method = METHODS["uq4ct"]
    assert isinstance(method, TrainedMethod)
    output = model(batch.tokens)
    return method.losses(Forward(output, batch, config.adapter, config.loss, 1, 8, model, None))


@pytest.mark.parametrize("step", [2, 5, 8, 9, 16])
def test_a_resumed_run_is_bit_identical(
    step: int,
    tmp_path: Path,
    finished_run: Path,
    make_config: MakeConfig,
    quiet: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted before and after resume points, at the end and the start of an epoch; dropout is on."""
    check_resumed(make_config(), step, finished_run, tmp_path / "run", quiet, monkeypatch)


def test_the_same_seed_gives_the_same_run_and_another_another(
    tmp_path: Path, finished_run: Path, make_config: MakeConfig, quiet: Console
) -> None:
    train_run(make_config(), tmp_path / "same", quiet)
    train_run(make_config(training={"seed": 1}), tmp_path / "other", quiet)
    assert losses_of(tmp_path / "same") == losses_of(finished_run)
    assert losses_of(tmp_path / "other") != losses_of(finished_run)


def test_an_end_token_that_a_tokenizer_appends_changes_no_run(
    tmp_path: Path, make_config: MakeConfig, make_base_folder: Any, tiny_tokenizer: Any, quiet: Console
) -> None:
    """The same losses as on the base whose tokenizer appends nothing."""
    for name, template in (("appended", "$A <|im_end|>"), ("plain", "$A")):
        base = make_base_folder(tmp_path / f"{name}-base", tokenizer=with_template(tiny_tokenizer, template))
        train_run(make_config(base={"name": str(base)}), tmp_path / name, quiet)
    assert losses_of(tmp_path / "appended") == losses_of(tmp_path / "plain")


def test_a_folder_is_one_run(tmp_path: Path, make_config: MakeConfig, quiet: Console, finished_run: Path) -> None:
    with pytest.raises(RunError, match="a different configuration"):
        train_run(make_config(training={"seed": 7}), finished_run, quiet)
    with pytest.raises(RunError, match="continue it with --resume"):
        train_run(make_config(), finished_run, quiet)
    with pytest.raises(RunError, match="no finished run"):
        load_run(tmp_path)


def test_a_loaded_run_answers_as_it_did_when_it_was_trained(finished_run: Path) -> None:
    """The kept epoch's NLL on the fit split, from the stored weights."""
    from uq4ct.model_store.calibrations import NoCalibration
    from uq4ct.model_store.posteriors.point import PointPosterior
    from uq4ct.model_store.predictor import Predictor, score_in_batches
    from uq4ct.training.evaluation.scores import answers_of, mean_nll, score_answers

    run = load_run(finished_run)
    fit = load_splits(run.config.data)[0].fit
    predictor = Predictor(run.model, PointPosterior())
    samples = score_in_batches(predictor.candidate_samples, [predictor.encode(question) for question in fit], 2048)
    nll = mean_nll(score_answers(answers_of(samples, fit, NoCalibration()), fit))
    assert nll == pytest.approx(run.result.fit_nll[run.result.kept_epoch - 1], abs=1e-9)


def test_a_diverging_run_says_so(tmp_path: Path, make_config: MakeConfig, quiet: Console) -> None:
    with pytest.raises(DivergedError, match="lower learning rate"):
        train_run(make_config(optimizer={"learning_rate": 1e30, "clip_norm": 1e30}), tmp_path / "run", quiet)


def test_gradients_are_clipped_unless_the_limit_is_null(
    tmp_path: Path, make_config: MakeConfig, quiet: Console
) -> None:
    for name, limit in (("none", None), ("vast", 1e30), ("tiny", 1e-12)):
        train_run(make_config(training={"epochs": 1}, optimizer={"clip_norm": limit}), tmp_path / name, quiet)
    assert losses_of(tmp_path / "none") == losses_of(tmp_path / "vast") != losses_of(tmp_path / "tiny")


def test_held_out_questions_get_no_cross_entropy(make_config: MakeConfig) -> None:
    """Changing their answers does not change the cross entropy; only they determine the calibration loss."""
    config = make_config(loss={"indicator": "held_out"})
    model = make_model(config, load_base_model(config.base.name, device="cpu", dtype="float32")).eval()
    train = load_splits(config.data)[0].train[:8]
    items = [
        TrainingQuestion(model.scorer.encode(question), question.answer or 0, index % 2 == 0)
        for index, question in enumerate(train)
    ]

    def parts(questions: list[TrainingQuestion]) -> dict[str, float]:
        (batch,) = forwards(questions, 1)
        terms = uq4ct_losses(model, batch, config)
        return {name: part.item() for name, part in terms.parts.items()}

    held_swapped = [
        TrainingQuestion(i.encoded, 1 - i.answer if i.answer < 2 else 0, True) if i.held_out else i for i in items
    ]
    trained_swapped = [
        i if i.held_out else TrainingQuestion(i.encoded, 1 - i.answer if i.answer < 2 else 0) for i in items
    ]
    assert parts(held_swapped)["cross_entropy"] == parts(items)["cross_entropy"]
    assert parts(trained_swapped)["cross_entropy"] != parts(items)["cross_entropy"]
    assert parts(trained_swapped)["calibration"] == parts(items)["calibration"]
    assert parts(held_swapped)["calibration"] != parts(items)["calibration"]


@pytest.mark.parametrize("indicator", ["training", "held_out"])
def test_accumulation_changes_no_gradient(indicator: str, make_config: MakeConfig) -> None:
    """Cross entropy and calibration loss of several forwards add up to those of a single forward."""
    config = make_config(loss={"indicator": indicator, "load_balance": 0.0}, base={"dtype": "float32"})
    model = make_model(config, load_base_model(config.base.name, device="cpu", dtype="float32")).eval()
    torch.manual_seed(0)
    for parameter in model.adapter_tensors().values():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    train = load_splits(config.data)[0].train[:8]
    items = [
        TrainingQuestion(model.scorer.encode(question), question.answer or 0, indicator == "held_out" and index < 3)
        for index, question in enumerate(train)
    ]

    def gradients(accumulation: int) -> list[torch.Tensor]:
        for batch in forwards(items, accumulation):
            uq4ct_losses(model, batch, config).total.backward()
        found = [parameter.grad for parameter in model.adapter_tensors().values() if parameter.grad is not None]
        model.zero_grad()
        return found

    whole, parts = gradients(1), gradients(4)
    assert len(whole) == len(parts) == len(model.adapter_tensors())
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_training_questions_over_the_limit_are_left_out_with_a_message(
    tmp_path: Path, make_config: MakeConfig, tiny_data: Path
) -> None:
    long = {"id": "long", "question": "Why? " * 300, "options": ["red", "blue"], "answer": 0}
    path = tmp_path / "train.jsonl"
    path.write_text((tiny_data / "train.jsonl").read_text() + json.dumps(long) + "\n")
    console = Console(record=True, width=200)
    config = make_config(data={"train": str(path)}, training={"epochs": 1})
    result = train_run(config, tmp_path / "run", console)
    assert "1 training questions over 512 tokens left out, the first is 'long'" in console.export_text()
    assert result.train == 64


@pytest.mark.parametrize("split", ["calibration", "test", "shift"])
def test_what_is_asked_after_training_must_fit_before_it(
    split: str, tmp_path: Path, make_config: MakeConfig, tiny_data: Path, quiet: Console
) -> None:
    """Otherwise hours of training would end in a run that cannot be scored."""
    long = {"id": "long", "question": "Why? " * 300, "options": ["red", "blue"], "answer": 0}
    path = tmp_path / f"{split}.jsonl"
    path.write_text((tiny_data / f"{split}.jsonl").read_text() + json.dumps(long) + "\n")
    config = make_config(data={split: {"others": str(path)} if split == "shift" else str(path)})
    with pytest.raises(ConfigError, match=r"scoring\.max_tokens: question 'long': the question .* has \d+ tokens"):
        train_run(config, tmp_path / "run", quiet)
    assert not (tmp_path / "run" / LOG_FILE).exists()


def test_a_method_is_fitted_on_runs_of_the_same_questions_only(
    tmp_path: Path, make_config: MakeConfig, tiny_data: Path, quiet: Console
) -> None:
    """The file name is the same but its questions have changed: the run may have been trained on test questions."""
    path = tmp_path / "train.jsonl"
    lines = (tiny_data / "train.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(lines))
    sections: dict[str, Any] = {"data": {"train": str(path)}, "training": {"epochs": 1}}
    train_run(make_config("lora", **sections), tmp_path / "lora", quiet)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(RunError, match=r"lora was trained with different data: sha256:.* train it again"):
        train_run(make_config("mc_dropout", **sections), tmp_path / "dropout", quiet, on=[tmp_path / "lora"])


def test_a_run_that_a_method_is_not_fitted_on_is_told_by_its_fields(
    tmp_path: Path, make_config: MakeConfig, quiet: Console
) -> None:
    train_run(make_config("lora", training={"epochs": 1}), tmp_path / "lora", quiet)
    config = make_config("ensemble", training={"epochs": 1}, adapter={"rank": 2})
    with pytest.raises(RunError, match=r"not trained as ensemble requires: adapter\.rank is 4, not 2$"):
        train_run(config, tmp_path / "ensemble", quiet, on=[tmp_path / "lora"])


def test_a_run_keeps_no_more_snapshots_than_it_has_steps(
    tmp_path: Path, make_config: MakeConfig, quiet: Console
) -> None:
    with pytest.raises(ConfigError, match=r"training\.snapshots is 17: the run has only 16 steps"):
        train_run(make_config(training={"snapshots": 17}), tmp_path / "run", quiet)


def test_targets_that_the_base_lacks_are_named(tmp_path: Path, make_config: MakeConfig, quiet: Console) -> None:
    with pytest.raises(ConfigError, match=r"adapter, scoring: not supported by the base model .*foo"):
        train_run(make_config(adapter={"targets": ["foo"]}), tmp_path / "run", quiet)


def test_pads_do_not_reach_the_losses(make_config: MakeConfig) -> None:
    """A short question has the same FEU in a batch with a long one as alone."""
    config = make_config()
    model = make_model(config, load_base_model(config.base.name, device="cpu", dtype="float32")).eval()
    train = load_splits(config.data)[0].train
    short, other = (TrainingQuestion(model.scorer.encode(question), question.answer or 0) for question in train[:2])

    def feu(batch: TokenBatch) -> torch.Tensor:
        output = model(batch)
        assert output.feu is not None
        return output.feu

    (alone,), (together,) = forwards([short], 1), forwards([short, other], 1)
    index = sorted([short, other], key=lambda item: item.encoded.length).index(short)
    assert feu(together.tokens)[index].item() == pytest.approx(feu(alone.tokens)[0].item(), abs=1e-6)
