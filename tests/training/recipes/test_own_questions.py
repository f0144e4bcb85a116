"""`uq4ct new-recipe`: from a question file to a recipe that trains on it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from tests.command_line import Done, uq4ct
from tests.training.tiny_task import tiny_records
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.uncertainty.soft_targets import FEWEST_QUESTIONS
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.same_question import normalise_question
from uq4ct.training.evaluation.publication import publish_run
from uq4ct.training.methods import METHODS
from uq4ct.training.run_config import load_run_config
from uq4ct.training.runs.train import train_run

OPTIONS = 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with questions in two formats: 200 in `questions.csv`, 20 more in `more.jsonl`."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "questions.csv", 200)
    lines = [json.dumps(record) for record in tiny_records("more", 20, 1)]
    (tmp_path / "more.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def write_csv(path: Path, count: int) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", *(f"option_{number + 1}" for number in range(OPTIONS)), "answer"])
        for record in tiny_records(path.stem, count, 0):
            options = [*record["options"], *[""] * (OPTIONS - len(record["options"]))]
            rows.writerow([record["question"], *options, record["answer"] + 1])


def new_recipe(*arguments: str) -> Done:
    return uq4ct(("new-recipe", *arguments))


def test_one_file_is_enough_and_is_divided_without_leaks(folder: Path) -> None:
    done = new_recipe("recipes/My quiz.yaml", "--train", "questions.csv")
    assert done.exit_code == 0, done.output
    assert "questions.csv: 200 questions with 2 to 4 options; column `answer` is the number of the" in done.stdout
    config = load_run_config(folder / "recipes" / "My quiz.yaml")
    assert (config.name, config.method, config.data.source) == ("my-quiz", "uq4ct", "csv")
    splits, _ = load_splits(config.data)
    parts = [splits.train, splits.fit, splits.guarantee, splits.test]
    assert [name for name, _ in splits.named()] == ["train", "fit", "guarantee", "test"]
    assert ", ".join(f"{name}: {len(part)}" for name, part in splits.named()) in done.stdout
    texts = [{normalise_question(question) for question in part} for part in parts]
    assert sum(map(len, texts)) == len(set().union(*texts)) == 200
    assert 20 < len(splits.test) < 60
    assert len(splits.guarantee) >= 9  # the fewest for prediction sets of coverage 0.9
    assert (config.calibration == "none") == (len(splits.fit) < FEWEST_QUESTIONS)
    assert done.stdout.endswith("next:\n  uq4ct train 'recipes/My quiz.yaml'\n  uq4ct publish runs/my-quiz --promote\n")


def test_the_recipe_finds_its_files_from_any_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert new_recipe("recipes/my.yaml", "--train", "questions.csv").exit_code == 0
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    config = load_run_config(folder / "recipes" / "my.yaml")
    assert config.data.model_dump()["train"] == str(folder / "questions.csv")
    assert sum(len(part) for _, part in load_splits(config.data)[0].named()) == 200


def test_files_of_their_own_are_not_carved(folder: Path) -> None:
    write_csv(folder / "calibration.csv", 30)
    write_csv(folder / "test.csv", 10)
    files = ("--train", "questions.csv", "--calibration", "calibration.csv", "--test", str(folder / "test.csv"))
    assert new_recipe("my.yaml", *files).exit_code == 0
    data = load_run_config(folder / "my.yaml").data
    splits, _ = load_splits(data)
    assert [len(splits.train), len(splits.fit) + len(splits.guarantee), len(splits.test)] == [200, 30, 10]
    assert data.model_dump()["test_share"] is None


@pytest.mark.parametrize("method", sorted(METHODS))
def test_there_is_a_recipe_for_every_method(method: str, folder: Path) -> None:
    done = new_recipe("my.yaml", "--train", "more.jsonl", "--test", "more.jsonl", "--method", method)
    assert done.exit_code == 1  # every id would be in two splits
    assert "the id 'more-0' already occurs in" in done.stderr
    (folder / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in tiny_records("own", 50, 2)))
    done = new_recipe("my.yaml", "--train", "questions.jsonl", "--test", "more.jsonl", "--method", method)
    assert done.exit_code == 0, done.output
    config = load_run_config(folder / "my.yaml")
    assert config.method == method
    assert set(config.options) == set(METHODS[method].options.model_fields)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "nowhere.csv"), r"nowhere\.csv: cannot be read"),
        (("--train", "questions.txt"), r"questions\.txt: the name must end in \.csv, \.jsonl, \.ndjson, not '\.txt'"),
        (("--train", "broken.csv"), r"broken\.csv, line 2: answer: must be the number of an option"),
        (("--train", "column.csv"), r"column\.csv, line 1: the column answer is missing"),
        (("--train", "unlabelled.jsonl"), r"unlabelled\.jsonl: 1 questions have no answer, the first is 'a'"),
        (("--train", "empty.csv"), r"empty\.csv: contains no questions"),
        (("--train", "questions.csv", "--test", "more.jsonl"), "the same format: questions.csv is csv, more.jsonl is"),
        (("--train", "questions.csv", "--name", "My name"), "name: String should match pattern"),
        (("--train", "questions.csv", "--method", "magic"), "method 'magic' is not one of adue, "),
    ],
)
def test_what_is_wrong_is_one_message_and_nothing_is_written(
    arguments: tuple[str, ...], message: str, folder: Path
) -> None:
    header = "question,option_1,option_2,answer\n"
    (folder / "empty.csv").write_text(header)
    (folder / "broken.csv").write_text(f"{header}Is it?,yes,no,yes\n")
    (folder / "column.csv").write_text("question,option_1,option_2,right\nIs it?,yes,no,1\n")
    (folder / "unlabelled.jsonl").write_text('{"id": "a", "question": "Is it?", "options": ["yes", "no"]}\n')
    done = new_recipe("my.yaml", *arguments)
    assert done.exit_code == 1
    assert re.search(message, done.stderr)
    assert not (folder / "my.yaml").exists()


def test_a_recipe_is_replaced_only_when_asked_to(folder: Path) -> None:
    (folder / "my.yaml").write_text("mine")
    done = new_recipe("my.yaml", "--train", "questions.csv")
    assert (done.exit_code, (folder / "my.yaml").read_text()) == (1, "mine")
    assert "my.yaml already exists" in done.stderr
    assert new_recipe("my.yaml", "--train", "questions.csv", "--force", "--name", "mine").exit_code == 0
    assert load_run_config(folder / "my.yaml").name == "mine"


def test_too_few_questions_for_prediction_sets_are_noticed(folder: Path) -> None:
    write_csv(folder / "few.csv", 40)
    done = new_recipe("my.yaml", "--train", "few.csv")
    assert done.exit_code == 0
    assert re.search(r"warning: \d questions of the guarantee split are too few for prediction sets", done.stdout)


@pytest.mark.parametrize(("questions", "calibration"), [(100, "none"), (600, "temperature")])
def test_too_few_questions_for_a_calibration_set_none(folder: Path, questions: int, calibration: str) -> None:
    write_csv(folder / "own.csv", questions)
    done = new_recipe("my.yaml", "--train", "own.csv")
    assert done.exit_code == 0
    assert load_run_config(folder / "my.yaml").calibration == calibration
    said = re.search(r"the recipe sets calibration: none, because the fit split has \d+ questions, fewer", done.stdout)
    assert bool(said) == (calibration == "none")


@pytest.mark.slow
def test_the_recipe_trains_and_is_published(folder: Path, tiny_folder: Path, quiet: Console) -> None:
    """All settings are the recipe's except the learning rate, which the tiny base needs."""
    assert new_recipe("my.yaml", "--train", "questions.csv", "--base", str(tiny_folder)).exit_code == 0
    config = load_run_config(folder / "my.yaml", ("optimizer.learning_rate=0.01",))
    result = train_run(config, folder / "runs" / "my", quiet)
    assert result.steps == config.training.epochs * -(-result.train // config.training.batch_questions)
    manifest = publish_run(folder / "runs" / "my", Registry(folder / "store"), quiet, promote=True).manifest
    assert manifest.reference == "my@1"
    assert manifest.scores_untrained is not None
    assert manifest.scores_after.accuracy > manifest.scores_untrained.accuracy + 0.3
