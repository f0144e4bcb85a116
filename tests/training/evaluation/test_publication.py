"""From a finished run to the store and back, with the same numbers everywhere."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

import uq4ct.training.runs.load
from tests.answers import make_answer
from tests.command_line import uq4ct as run_uq4ct
from tests.training.publishing import publish_tiny_run
from uq4ct.model_store.calibrations import TemperatureCalibration
from uq4ct.model_store.published import load_predictor
from uq4ct.model_store.question_files import QuestionFileError
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.source import DataError
from uq4ct.training.evaluation.calibration_fitting import WeakCalibrationError
from uq4ct.training.evaluation.decision_fitting import UnmetTargetError, decision_targets
from uq4ct.training.evaluation.evaluate import evaluate
from uq4ct.training.evaluation.evaluated import open_run, open_stored, open_untrained
from uq4ct.training.evaluation.predictions import PredictionsError, read_pair, read_predictions, write_predictions
from uq4ct.training.evaluation.publication import Publication, publish_run
from uq4ct.training.evaluation.scores import compute_scores, paired_differences, score_answers
from uq4ct.training.run_config import ConfigError
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.records import RunError


@pytest.fixture(scope="module")
def publication(
    finished_run: Path, tmp_path_factory: pytest.TempPathFactory, quiet: Console
) -> tuple[Publication, Registry]:
    registry = Registry(tmp_path_factory.mktemp("store"))
    return publish_tiny_run(finished_run, registry, quiet), registry


def test_a_weak_calibration_is_refused_before_anything_is_stored_unless_allowed(
    finished_run: Path, tmp_path: Path, quiet: Console
) -> None:
    registry, console = Registry(tmp_path / "store"), Console(record=True, width=200)
    with pytest.raises(
        WeakCalibrationError, match=r"temperature is weak: it is fitted on \d+ questions, fewer than 30"
    ):
        publish_run(finished_run, registry, quiet)
    assert registry.references() == []
    assert publish_run(finished_run, registry, console, calibration="none").manifest.reference == "tiny@1"
    assert "warning" not in console.export_text()
    publish_run(finished_run, registry, console, allow_weak_calibration=True)
    assert "warning: calibration temperature is weak" in console.export_text()


def test_the_command_takes_the_flag_and_names_it(finished_run: Path, tmp_path: Path) -> None:
    arguments = ("publish", str(finished_run), "--store", str(tmp_path / "store"))
    refused = run_uq4ct(arguments)
    assert refused.exit_code == 1
    assert "--allow-weak-calibration" in refused.stderr
    assert "published tiny@1" in run_uq4ct((*arguments, "--allow-weak-calibration")).stdout


@pytest.mark.parametrize(("calibration", "warnings"), [("temperature", 1), ("none", 0)])
def test_training_warns_of_a_fit_split_that_is_too_small(
    calibration: str, warnings: int, finished_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    record = json.loads((finished_run / "config.json").read_text()) | {"calibration": calibration}
    for path in (tmp_path / "run" / "config.json", tmp_path / "tiny.yaml"):
        path.write_text(json.dumps(record))
    done = run_uq4ct(("train", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "run"), "--resume"))
    assert done.exit_code == 0, done.stderr
    assert len(re.findall(r"warning: the fit split has \d+ questions, and `publish` refuses", done.stdout)) == warnings


def test_the_manifest_says_what_is_needed_to_interpret_the_weights(
    publication: tuple[Publication, Registry], finished_run: Path
) -> None:
    manifest = publication[0].manifest
    run = load_run(finished_run)
    splits = load_splits(run.config.data)[0]
    assert (manifest.reference, manifest.method, manifest.dtype) == ("tiny@1", "uq4ct", "float32")
    assert manifest.base == run.base.identity
    assert manifest.provenance.recipe == json.loads(run.config.model_dump_json())
    assert isinstance(manifest.calibration, TemperatureCalibration)
    assert manifest.calibration.questions == len(splits.fit)
    assert not manifest.calibration.at_bound
    assert manifest.calibration.nll_after <= manifest.calibration.nll_before
    assert manifest.reference_histograms.questions == len(splits.guarantee)
    assert manifest.scores_after.questions == len(splits.test)
    assert manifest.batch_company.largest_probability_change < 1e-5  # fp32
    assert "reliability.png" in manifest.files


def test_the_decisions_come_from_the_guarantee_split(
    publication: tuple[Publication, Registry], finished_run: Path, quiet: Console
) -> None:
    manifest = publication[0].manifest
    run = load_run(finished_run)
    splits = load_splits(run.config.data)[0]
    loaded = load_predictor(manifest.reference, publication[1].root, dtype="float32")
    answers = loaded.answer([loaded.encode(question) for question in splits.guarantee])
    sets = manifest.decisions.sets
    assert sets is not None
    assert manifest.decisions.abstention is None
    right = [answer.probabilities[q.answer or 0] for answer, q in zip(answers, splits.guarantee, strict=True)]
    assert sets.scores == pytest.approx(sorted(1 - p for p in right), abs=1e-5)
    scored = publication[0].served
    threshold = sets.scores[math.ceil((sets.questions + 1) * 0.9) - 1]
    rows = zip(scored.probabilities.tolist(), scored.answers.tolist(), scored.confidence.tolist(), strict=True)
    held = [1 - row[answer] <= threshold or row[answer] == best for row, answer, best in rows]
    assert manifest.decisions.tested is not None
    assert manifest.decisions.tested.set_coverage == pytest.approx(sum(held) / len(held))


def test_the_reference_curve_is_that_of_the_guarantee_split_as_it_is_served(
    publication: tuple[Publication, Registry], finished_run: Path
) -> None:
    manifest = publication[0].manifest
    guarantee = load_splits(load_run(finished_run).config.data)[0].guarantee
    loaded = load_predictor(manifest.reference, publication[1].root, dtype="float32")
    answers = loaded.answer([loaded.encode(question) for question in guarantee])
    rows = [(answer.confidence, answer.option != q.answer) for answer, q in zip(answers, guarantee, strict=True)]
    curve = manifest.reference_curve
    assert curve is not None
    assert curve.questions == curve.answered[0] == len(guarantee)
    assert curve.wrong[0] == round((1 - manifest.reference_histograms.accuracy) * len(guarantee))
    for threshold, answered, wrong in zip(curve.thresholds, curve.answered, curve.wrong, strict=True):
        if min(abs(confidence - threshold) for confidence, _ in rows) > 1e-5:  # batching moves an answer
            above = [is_wrong for confidence, is_wrong in rows if confidence >= threshold]
            assert (answered, wrong) == (len(above), sum(above))


def test_a_target_of_abstention_is_found_or_refused_with_the_best(
    finished_run: Path, tmp_path: Path, quiet: Console
) -> None:
    registry = Registry(tmp_path / "store")
    with pytest.raises(UnmetTargetError, match=r"no threshold guarantees a risk of 0.001 .* can guarantee is 0\.\d+"):
        publish_tiny_run(finished_run, registry, quiet, targets=decision_targets(0.001, None))
    with pytest.raises(UnmetTargetError, match=r"coverage 0.9999 would contain every option: .* support is 0\.9\d+"):
        publish_tiny_run(finished_run, registry, quiet, targets=decision_targets(None, None, set_coverage=0.9999))
    assert registry.references() == []
    targets = decision_targets(None, 0.5, set_score="aps")
    decisions = publish_tiny_run(finished_run, registry, quiet, targets=targets).manifest.decisions
    assert decisions.abstention is not None
    assert decisions.abstention.coverage_bound >= 0.5
    assert decisions.abstention.coverage < 1
    assert decisions.tested is not None
    assert decisions.tested.answered == pytest.approx(decisions.abstention.coverage, abs=0.3)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ((0.1, 0.9), "--target-risk 0.1 and --target-coverage 0.9: only one can be set"),
        ((1.5, None), r"^--target-risk: must be above 0 and below 1 \(got 1\.5\)$"),
        ((None, -1), r"^--target-coverage: must be above 0 and below 1 \(got -1\)$"),
    ],
)
def test_impossible_targets_are_refused(targets: tuple[float | None, float | None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decision_targets(*targets)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--target-risk", "10", "--target-risk: must be above 0 and below 1 (got 10.0)"),
        ("--target-coverage", "nan", "--target-coverage: must be above 0 and below 1 (got nan)"),
        ("--set-coverage", "1", "--set-coverage: must be above 0 and below 1 (got 1.0)"),
        ("--guarantee", "95", "--guarantee: must be above 0 and below 1 (got 95.0)"),
        ("--max-set-size", "0", "--max-set-size: must be at least 1 (got 0)"),
    ],
)
def test_an_option_out_of_range_is_named_with_its_range(option: str, value: str, message: str) -> None:
    done = run_uq4ct(["publish", "runs/none", option, value])
    assert (done.exit_code, done.stderr) == (1, f"error: {message}\n")


def test_a_target_is_not_asked_for_beside_a_largest_set() -> None:
    """The target was not tested on answers that abstain for their set size."""
    with pytest.raises(ConfigError, match=r"max_set_size 2 and a target of 0\.9: only one of the two"):
        decision_targets(None, 0.9, max_set_size=2)
    assert decision_targets(None, None, max_set_size=2).max_set_size == 2


def test_training_beat_the_untrained_base(publication: tuple[Publication, Registry]) -> None:
    found = publication[0]
    assert found.manifest.scores_untrained == compute_scores(found.untrained)
    assert found.manifest.scores_after == compute_scores(found.served)
    value, interval = paired_differences(found.served, found.untrained)["nll"]
    assert value == pytest.approx(found.manifest.scores_after.nll - compute_scores(found.untrained).nll)
    assert interval.high < 0


def test_the_published_adapter_gives_the_scores_of_its_manifest(
    publication: tuple[Publication, Registry], finished_run: Path
) -> None:
    found, registry = publication
    predictor = load_predictor("tiny", registry.root, device="cpu", dtype="float32")
    test = load_splits(load_run(finished_run).config.data)[0].test
    answers = [predictor.answer([predictor.encode(question)])[0] for question in test]
    scores = compute_scores(score_answers(answers, test))
    assert scores.nll == pytest.approx(found.manifest.scores_after.nll, abs=1e-6)
    assert scores.accuracy == found.manifest.scores_after.accuracy


def test_evaluate_and_the_store_agree(
    publication: tuple[Publication, Registry], finished_run: Path, tmp_path: Path, quiet: Console
) -> None:
    _, registry = publication
    console = Console(record=True, width=200)
    of_run = evaluate(open_run(finished_run, device=None, dtype=None), "test", tmp_path / "run", console)
    assert console.export_text().count("warning: calibration temperature is weak: it is fitted on ") == 1
    stored = open_stored(registry, "tiny@1", device=None, dtype=None)
    of_store = evaluate(stored, "test", tmp_path / "store", quiet, batch_tokens=1)
    for ours, theirs in zip(of_run.values(), of_store.values(), strict=True):
        assert ours.nll == pytest.approx(theirs.nll, abs=1e-6)
    _, ours = read_predictions(tmp_path / "run" / "test-calibrated.jsonl")
    _, theirs = read_predictions(tmp_path / "store" / "test-calibrated.jsonl")
    for one, other in zip(ours, theirs, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    png = (tmp_path / "run" / "test-calibrated.png").read_bytes()
    assert png.startswith(b"\x89PNG")


def test_untrained_evaluation_is_the_base_model(finished_run: Path, tmp_path: Path, quiet: Console) -> None:
    config = load_run(finished_run).config
    scores = evaluate(open_untrained(config, device=None, dtype=None), "others", tmp_path, quiet)
    assert next(iter(scores.values())).questions == 8
    with pytest.raises(DataError, match="split 'nowhere' is empty or unknown; available: train, fit"):
        evaluate(open_untrained(config, device=None, dtype=None), "nowhere", tmp_path, quiet)


def test_changed_data_are_noticed(finished_run: Path, tmp_path: Path, quiet: Console) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    config = json.loads((folder / "config.json").read_text())
    config["data"]["test_limit"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="the data have changed"):
        publish_tiny_run(folder, Registry(tmp_path / "store"), quiet)


def test_a_stored_adapter_is_not_evaluated_on_other_data(
    publication: tuple[Publication, Registry], finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recipe names files, which may now contain the questions that it was trained on."""
    found, registry = publication
    splits, messages = load_splits(load_run(finished_run).config.data)
    changed = dataclasses.replace(splits, test=splits.test[:-1])
    monkeypatch.setattr(uq4ct.training.runs.load, "load_splits", lambda config: (changed, messages))
    with pytest.raises(RunError, match="the data have changed"):
        open_stored(registry, found.manifest.reference, device="cpu", dtype="float32")


@pytest.mark.parametrize("break_", ["\u2028", "\u2029", "\u0085", "\x0b"])
def test_predictions_of_questions_with_any_line_break_are_read_again(tmp_path: Path, break_: str) -> None:
    question = Question("1", f"a{break_}b", ("x", "y"), answer=0)
    answer = make_answer((0.75, 0.25))
    write_predictions(tmp_path / "made.jsonl", [question, question], [answer, answer])
    questions, answers = read_predictions(tmp_path / "made.jsonl")
    assert questions == [question, question]
    assert answers == [answer, answer]


def test_predictions_of_other_questions_are_not_compared(
    publication: tuple[Publication, Registry], finished_run: Path, tmp_path: Path, quiet: Console
) -> None:
    candidate = open_run(finished_run, device=None, dtype=None)
    evaluate(candidate, "test", tmp_path, quiet)
    evaluate(candidate, "fit", tmp_path, quiet)
    ours, theirs = read_pair(tmp_path / "test-raw.jsonl", tmp_path / "test-calibrated.jsonl")
    differences = paired_differences(ours, theirs)
    assert differences["accuracy"][0] == 0  # one sample: a temperature never changes the option
    assert torch.equal(ours.answers, theirs.answers)
    with pytest.raises(PredictionsError, match="not about the same questions"):
        read_pair(tmp_path / "test-raw.jsonl", tmp_path / "fit-raw.jsonl")
    with pytest.raises(QuestionFileError, match=r"none\.jsonl: cannot be read"):
        read_pair(tmp_path / "none.jsonl", tmp_path / "fit-raw.jsonl")
    (tmp_path / "broken.jsonl").write_text('{"question": {}}\n')
    with pytest.raises(QuestionFileError, match=r"broken\.jsonl, line 1: is not a prediction: QuestionError\('id: "):
        read_pair(tmp_path / "broken.jsonl", tmp_path / "fit-raw.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(QuestionFileError, match=r"empty\.jsonl: contains no predictions"):
        read_pair(tmp_path / "empty.jsonl", tmp_path / "empty.jsonl")


def test_a_pair_is_read_side_by_side(tmp_path: Path) -> None:
    """Options of different numbers, optional scores, and records that differ only in how they are written."""
    questions = [Question("1", "a", ("x", "y"), answer=1), Question("2", "b", ("x", "y", "z"), answer=0)]
    ours = [make_answer((0.25, 0.75), feu=0.5), make_answer((0.5, 0.25, 0.25), feu=0.25)]
    theirs = [make_answer((0.75, 0.25)), make_answer((0.25, 0.25, 0.5))]
    write_predictions(tmp_path / "a.jsonl", questions, ours)
    write_predictions(tmp_path / "b.jsonl", questions, theirs)
    lines = (tmp_path / "b.jsonl").read_text().replace('"context": null, ', "")
    (tmp_path / "b.jsonl").write_text("\n" + lines)
    mine, other = read_pair(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert mine.probabilities.tolist() == [[0.25, 0.75, 0.0], [0.5, 0.25, 0.25]]
    assert (mine.options.tolist(), mine.answers.tolist(), mine.correct.tolist()) == ([2, 3], [1, 0], [True, True])
    assert (other.confidence.tolist(), other.correct.tolist()) == ([0.75, 0.5], [False, False])
    assert mine.feu is not None
    assert mine.feu.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:1], "not about the same questions in the same order"),
        (lambda lines: lines[::-1], "not about the same questions in the same order"),
        (lambda lines: [lines[0], lines[1].replace('"answer": 0,', '"answer": 1,')], "not about the same questions"),
        (lambda lines: [lines[0], lines[1].replace('"confidence": 0.5', '"confidence": "high"')], "line 2: is not a"),
        (lambda lines: [lines[0], "{}"], r"b\.jsonl, line 2: is not a prediction: KeyError"),
        (lambda lines: [], r"b\.jsonl: contains no predictions"),
    ],
)
def test_files_that_are_no_pair(tmp_path: Path, change: Callable[[list[str]], list[str]], message: str) -> None:
    questions = [Question("1", "a", ("x", "y"), answer=1), Question("2", "b", ("x", "y", "z"), answer=0)]
    answers = [make_answer((0.25, 0.75)), make_answer((0.5, 0.25, 0.25))]
    write_predictions(tmp_path / "a.jsonl", questions, answers)
    lines = change((tmp_path / "a.jsonl").read_text().splitlines())
    (tmp_path / "b.jsonl").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises((PredictionsError, QuestionFileError), match=message):
        read_pair(tmp_path / "a.jsonl", tmp_path / "b.jsonl")


def test_a_pair_needs_answers(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.jsonl", [Question("7", "a", ("x", "y"))], [make_answer((0.25, 0.75))])
    with pytest.raises(QuestionFileError, match=r"a\.jsonl, line 1: question '7' has no answer"):
        read_pair(tmp_path / "a.jsonl", tmp_path / "a.jsonl")


def test_predictions_that_an_editor_saved_are_read(tmp_path: Path) -> None:
    """With a byte order mark, blank lines and carriage returns."""
    question, answer = Question("1", "Größer?", ("x", "y"), answer=0), make_answer((0.75, 0.25))
    write_predictions(tmp_path / "made.jsonl", [question], [answer])
    text = (tmp_path / "made.jsonl").read_text(encoding="utf-8")
    (tmp_path / "made.jsonl").write_bytes(f"\ufeff\r\n{text.rstrip()}\r\n\r\n".encode())
    assert read_predictions(tmp_path / "made.jsonl") == ([question], [answer])
