"""The READMEs' shortest paths from a question file to a served model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import check_command
from tests.readme.conftest import STORE
from tests.readme.examples.root import NEW_RECIPE, PUBLISH, SERVE, TRAIN
from tests.readme.examples.training import NEW_RECIPE as NEW_RECIPE_WITH_TEST
from tests.readme.terminal import Terminal
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.run_config import load_run_config


def _write_questions(path: Path, count: int) -> None:
    """A CSV file whose questions differ in their numbers."""
    endings = ("four,red,2", "red,four,1")
    rows = (f"{path.stem}: which is a colour? {n},{endings[n % 2]}" for n in range(count))
    path.write_text("\n".join(["question,option_1,option_2,answer", *rows]) + "\n")


@pytest.fixture
def with_questions(terminal: Terminal) -> Terminal:
    """A terminal beside `questions.csv` and `test.csv`."""
    _write_questions(terminal.folder / "questions.csv", 120)
    _write_questions(terminal.folder / "test.csv", 16)
    return terminal


@pytest.mark.parametrize("command", [NEW_RECIPE, NEW_RECIPE_WITH_TEST, TRAIN, PUBLISH, SERVE])
def test_the_arguments_are_taken(command: str) -> None:
    check_command(command)


@pytest.mark.parametrize("command", [NEW_RECIPE, NEW_RECIPE_WITH_TEST])
def test_a_recipe_for_the_file_is_written(with_questions: Terminal, command: str) -> None:
    with_questions.run(command)
    config = load_run_config(with_questions.folder / "my.yaml")
    assert (config.name, config.method, config.data.source) == ("my", "uq4ct", "csv")


@pytest.mark.slow
def test_a_file_of_questions_becomes_a_model_that_is_served(shell: Terminal, tiny_folder: Path) -> None:
    _write_questions(shell.folder / "questions.csv", 120)
    shell.run(NEW_RECIPE)
    shell.run(f"{TRAIN} --set base.name={tiny_folder} --set base.device=cpu --set training.epochs=1")
    assert "published my@1" in shell.run(PUBLISH)
    assert Registry(shell.folder / STORE).resolve("my") == ("my", 1)
    with shell.serve(SERVE):
        pass  # it became ready
