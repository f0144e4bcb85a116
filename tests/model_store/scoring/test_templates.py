"""Of what a tokenizer's template adds to a text, only a start token before it counts, and only once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from tests.manifests import make_draft
from tests.tiny_base import with_template
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.published import load_predictor
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.model_store.scoring.plain_tokenizer import TokenizerError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.token_batch import collate

SCORINGS = [LetterConfig(), ClozeConfig()]


@pytest.fixture
def templated(tiny_tokenizer: PreTrainedTokenizerFast) -> Callable[..., PreTrainedTokenizerFast]:
    """The tiny tokenizer with a given template."""
    return partial(with_template, tiny_tokenizer)


@pytest.fixture
def logits_of(templated, tmp_path, make_base_folder, make_model, questions) -> Callable[..., torch.Tensor]:
    """Logits of an adapter with fixed weights on a base whose tokenizer has this template."""

    def score(scoring, template: str) -> torch.Tensor:
        folder = make_base_folder(tmp_path / str(len(list(tmp_path.iterdir()))), tokenizer=templated(template))
        model = make_model(load_base_model(str(folder), device="cpu", dtype="float32"), scoring)
        with torch.no_grad():
            return model(collate([model.scorer.encode(question) for question in questions])).logits

    return score


@pytest.mark.parametrize("scoring", SCORINGS, ids=["letter", "cloze"])
@pytest.mark.parametrize(
    ("kept", "template"),
    [
        ("$A", "$A <|im_end|>"),
        ("$A", "$A <|im_end|> <|endoftext|>"),
        ("<|endoftext|> $A", "<|endoftext|> $A <|im_end|>"),
        ("<|endoftext|> $A", "<|endoftext|> <|endoftext|> $A"),
        ("<|endoftext|> $A", "<|endoftext|> <|endoftext|> $A <|im_end|>"),
    ],
)
def test_the_scores_are_those_of_the_start_token_alone(logits_of, scoring, kept, template):
    assert torch.equal(logits_of(scoring, template), logits_of(scoring, kept))


def test_the_start_token_counts_in_the_scores(logits_of):
    assert not torch.equal(logits_of(LetterConfig(), "$A"), logits_of(LetterConfig(), "<|endoftext|> $A"))


def test_a_text_that_begins_with_the_start_tokens_letters_gets_one_start_token(templated):
    encoder = TextEncoder(templated("<|endoftext|> $A"))
    assert encoder.encode("<|endoftext|>Which?").ids.count(0) == 1


@pytest.mark.parametrize("template", ["$A <|im_end|>", "<|endoftext|> <|endoftext|> $A <|im_end|>"])
def test_offsets_are_trimmed_as_the_tokenizers_own(templated, template):
    text = "Question: red at dusk"
    ours = TextEncoder(templated(template)).encode(text, with_start=False)
    own = templated("$A").backend_tokenizer.encode(text, add_special_tokens=False)
    assert (ours.ids, ours.offsets) == (own.ids, own.offsets)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "<|im_start|> <|endoftext|> $A",
            r"adds 2 tokens before a text, '<\|im_start\|>', '<\|endoftext\|>': only a single start token is supported",
        ),
        (
            "$A <|im_end|> $A",
            r"puts tokens into a text: 'What is 2 \+ 2\?' becomes \['W', .*'<\|im_end\|>', 'W', ",
        ),
    ],
)
def test_a_template_that_is_no_start_token_is_refused_by_name(templated, template, message):
    with pytest.raises(TokenizerError, match=message):
        TextEncoder(templated(template))


def test_a_tokenizer_without_tokens_for_english_is_refused():
    for model, message in (
        (models.BPE(), "has no tokens for"),
        (models.WordPiece({}, unk_token="[UNK]"), "cannot read 'What .*': Exception: WordPiece error: Missing"),
    ):
        empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
        with pytest.raises(TokenizerError, match=message):
            TextEncoder(empty)


@pytest.mark.parametrize("scoring", SCORINGS, ids=["letter", "cloze"])
def test_a_served_answer_does_not_depend_on_an_appended_end_token(
    templated, tmp_path, make_base_folder, make_model, questions, scoring
):
    def answers(template: str, root: Path):
        base = load_base_model(
            str(make_base_folder(root / "base", tokenizer=templated(template))), device="cpu", dtype="float32"
        )
        model = make_model(base, scoring)
        draft = make_draft("tiny", base=base.identity, adapter=model.config, scoring=scoring)
        Registry(root / "store").publish(draft, model.adapter_tensors(), {}, promote=True)
        return load_predictor("tiny", root / "store", device="cpu", dtype="float32").ask_all(questions)

    assert answers("$A <|im_end|>", tmp_path / "appended") == answers("$A", tmp_path / "plain")
