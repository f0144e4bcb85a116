from __future__ import annotations

import json

import pytest
import torch
from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.questions import LABELS, Question
from uq4ct.model_store.scoring import build_scorer
from uq4ct.model_store.scoring.config import LetterConfig
from uq4ct.model_store.scoring.encoding import QuestionTooLongError, TextEncoder
from uq4ct.model_store.token_batch import candidate_mask, collate

PROMPT = "Question: What colour is the sky?\nA. blue\nB. red at dusk\nC. white\nAnswer:"


def _score(model, questions, **kwargs):
    with torch.no_grad():
        return model(collate([model.scorer.encode(question) for question in questions], **kwargs)).logits


def test_the_prompt_is_the_papers(tiny_base, make_model, questions):
    encoded = make_model(tiny_base, LetterConfig()).scorer.encode(questions[0])
    assert tiny_base.tokenizer.backend_tokenizer.decode(list(encoded.tokens)) == PROMPT
    assert set(encoded.branches) == {0}


def test_a_context_stands_before_the_question(tiny_base, make_model, questions):
    encoded = make_model(tiny_base, LetterConfig()).scorer.encode(questions[2])
    text = tiny_base.tokenizer.backend_tokenizer.decode(list(encoded.tokens))
    assert text.startswith("Sums of small numbers.\nQuestion: 12 + 22?\nA. 34\nB. 12\n")


def test_logits_are_the_heads_at_the_last_position(tiny_base, make_model, questions, plain_logits):
    model = make_model(tiny_base, LetterConfig())
    logits = _score(model, questions)
    letters = tiny_base.tokenizer.convert_tokens_to_ids([f"Ġ{label}" for label in LABELS])
    assert model.scorer.letter_ids.tolist() == letters
    for question, row in zip(questions, logits, strict=True):
        count = len(question.options)
        tokens = list(model.scorer.encode(question).tokens)
        expected = plain_logits(model, tokens)[-1, letters[:count]]
        torch.testing.assert_close(row[:count], expected, rtol=0, atol=1e-5)
        assert torch.isneginf(row[count:]).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_neither_padding_nor_company_changes_a_logit(tiny_base, make_model, questions, side):
    model = make_model(tiny_base, LetterConfig())
    together = _score(model, questions, padding_side=side)
    for question, row in zip(questions, together, strict=True):
        torch.testing.assert_close(row[: len(question.options)], _score(model, [question])[0], rtol=0, atol=1e-5)


def test_a_biased_head_counts_its_bias(tmp_path, make_base_folder, make_model, questions):
    base = load_base_model(str(make_base_folder(tmp_path)), device="cpu", dtype="float32")
    model = make_model(base, LetterConfig())
    before = _score(model, questions[:1])
    base.model.lm_head.bias = torch.nn.Parameter(torch.randn(len(base.tokenizer)))
    added = base.model.lm_head.bias[model.scorer.letter_ids[:3]].detach()
    torch.testing.assert_close(_score(model, questions[:1]), before + added)


def test_the_head_is_never_called(tiny_base, make_model, questions):
    model = make_model(tiny_base, LetterConfig())
    tiny_base.model.lm_head.register_forward_pre_hook(lambda *_: pytest.fail("the head ran over a sequence"))
    assert _score(model, questions).shape == (4, 5)


@pytest.mark.parametrize("last", ["white", "34.", "a b ", "é😀"])
def test_option_tokens_are_those_of_the_option_lines(tiny_tokenizer, starting_tokenizer, last):
    for tokenizer in (tiny_tokenizer, starting_tokenizer):
        scorer = build_scorer(LetterConfig(), TextEncoder(tokenizer), 512)
        encoder = TextEncoder(tokenizer)
        encoded = scorer.encode(Question("q", "Which?", ("1 2", "red", last)))
        head = len(encoder.encode("Question: Which?").ids)
        tail = len(encoder.encode("\nAnswer:", with_start=False).ids)
        marked = len(encoded.tokens) - head - tail
        assert encoded.is_option == (False,) * head + (True,) * marked + (False,) * tail


def test_a_token_that_spans_the_last_options_end_belongs_to_the_option(tiny_tokenizer):
    record = json.loads(tiny_tokenizer.backend_tokenizer.to_str())
    record["pre_tokenizer"]["use_regex"] = False  # some tokenizers join a full stop and the line break after it
    record["model"]["vocab"]["!Ċ"] = len(tiny_tokenizer)
    record["model"]["merges"].insert(0, ["!", "Ċ"])
    tokenizer = Tokenizer.from_str(json.dumps(record))
    scorer = build_scorer(LetterConfig(), TextEncoder(PreTrainedTokenizerFast(tokenizer_object=tokenizer)), 512)
    encoded = scorer.encode(Question("q", "Which?", ("red", "blue!")))
    spanning = encoded.tokens.index(tokenizer.token_to_id("!Ċ"))
    assert encoded.is_option[spanning - 1 : spanning + 2] == (True, True, False)


def test_the_limit_is_an_error_that_states_both_numbers(tiny_tokenizer, questions):
    encoder = TextEncoder(tiny_tokenizer)
    length = build_scorer(LetterConfig(), encoder, 512).encode(questions[1]).length
    assert build_scorer(LetterConfig(max_tokens=length), encoder, 512).encode(questions[1]).length == length
    with pytest.raises(QuestionTooLongError) as caught:
        build_scorer(LetterConfig(), encoder, length - 1).encode(questions[1])
    assert (caught.value.length, caught.value.limit, caught.value.unit) == (length, length - 1, "tokens")


def test_letters_must_be_one_token_each_and_distinct(tiny_tokenizer):
    tokenizer = Tokenizer.from_str(tiny_tokenizer.backend_tokenizer.to_str())
    tokenizer.normalizer = normalizers.Replace("B", "BB")
    with pytest.raises(ValueError, match=r"the letters \['B'\] are not one token each"):
        build_scorer(LetterConfig(), TextEncoder(PreTrainedTokenizerFast(tokenizer_object=tokenizer)), 512)
    tokenizer.normalizer = normalizers.Replace("B", "C")
    with pytest.raises(ValueError, match="two letters share one token"):
        build_scorer(LetterConfig(), TextEncoder(PreTrainedTokenizerFast(tokenizer_object=tokenizer)), 512)


def test_every_letter_has_the_last_hidden_state_as_its_feature(tiny_base, make_model, questions):
    """It is not copied for each option; the logits are the head applied to it."""
    model = make_model(tiny_base, LetterConfig())
    batch = collate([model.scorer.encode(question) for question in questions])
    with torch.no_grad():
        output, features = model.run_with_features(model.plan(batch))
        alone, _ = model.run_with_features(model.plan(collate([model.scorer.encode(questions[1])])))
    assert features.shape == (4, 5, 32)
    assert features.stride(1) == 0
    rows = tiny_base.model.lm_head.weight[model.scorer.letter_ids[:5]]
    expected = (features * rows).sum(dim=-1).masked_fill(~candidate_mask(batch.options, batch.width), -torch.inf)
    torch.testing.assert_close(output.logits, expected)
    torch.testing.assert_close(output.logits[1, :2], alone.logits[0], rtol=0, atol=1e-5)
