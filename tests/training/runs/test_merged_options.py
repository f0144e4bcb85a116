"""Options whose first characters the base model's tokenizer merges with the prompt."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.tiny_base import merging_tokenizer
from tests.training.conftest import MakeConfig
from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.questions import Question
from uq4ct.training.data.source import DataError
from uq4ct.training.data.splits import Splits
from uq4ct.training.evaluation.sampling import sample_split
from uq4ct.training.run_config import ConfigError, RunConfig
from uq4ct.training.runs.encoded_splits import check_questions, encode_fit, encode_train
from uq4ct.training.runs.new_model import make_model
from uq4ct.training.runs.train import train_run

GOOD = Question("good", "Which?", ("red", "white"), answer=0)
MERGED = Question("merged", "Which?", ("red", "blue"), answer=0)
NAMED = r"question 'merged': options\.1: ' blue' does not begin a new token after '\\nAnswer:'"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, make_base_folder: Callable[..., Path], make_config: MakeConfig):
    """A run on a base whose tokenizer merges `: b`."""
    folder = make_base_folder(tmp_path_factory.mktemp("merging"), tokenizer=merging_tokenizer())
    return make_config("lora", base={"name": str(folder)})


@pytest.fixture(scope="module")
def model(config: RunConfig) -> AdaptedModel:
    return make_model(config, load_base_model(config.base.name, device="cpu", dtype="float32"))


def test_training_questions_with_such_an_option_are_left_out_with_a_message(
    model: AdaptedModel, config: RunConfig
) -> None:
    output = io.StringIO()
    console = Console(file=output, width=200)
    assert len(encode_train([GOOD, MERGED, MERGED], model, config, console)) == 1
    assert output.getvalue() == (
        "2 training questions left out because of an option, the first is 'merged' (options.1: ' blue' does not begin "
        "a new token after '\\nAnswer:')\n"
    )
    with pytest.raises(ConfigError, match="no training question is left"):
        encode_train([MERGED], model, config, console)


def test_such_an_option_in_another_split_is_an_error_that_names_the_question(
    model: AdaptedModel, quiet: Console
) -> None:
    with pytest.raises(DataError, match=NAMED):
        encode_fit([GOOD, MERGED], model)
    with pytest.raises(DataError, match=NAMED):
        check_questions(Splits(train=(), fit=(), guarantee=(GOOD,), test=(MERGED,)), model)
    with pytest.raises(DataError, match=NAMED):
        sample_split(Predictor(model, PointPosterior()), [GOOD, MERGED], 2048, quiet, "test")


def test_a_run_with_letter_scoring_on_such_a_base_is_refused(config: RunConfig, tmp_path: Path, quiet: Console) -> None:
    letters = RunConfig.model_validate(config.model_dump() | {"scoring": {"kind": "letter"}})
    with pytest.raises(ConfigError, match=r"scoring: not supported by the base model .*: after .* are not one token"):
        train_run(letters, tmp_path / "run", quiet)
