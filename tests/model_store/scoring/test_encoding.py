from __future__ import annotations

import unicodedata
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers
from transformers import PreTrainedTokenizerFast

from tests.pauses import longest_pause_share
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.scoring import build_scorer
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import MergedTextError, QuestionTooLongError, TextEncoder, clean_text
from uq4ct.model_store.token_batch import EncodedQuestion, candidate_mask, collate, tree_mask

WORDS = ("Which", " of", " these", "\n", "  ", "Question:", " answer", "0123")
SCORINGS = [LetterConfig, ClozeConfig]


@pytest.fixture
def merging_tokenizer() -> PreTrainedTokenizerFast:
    """One that has a token for ': b', across the border of answer mark and option."""
    tokenizer = Tokenizer(models.BPE(unk_token="?"))
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["?"], show_progress=False)
    tokenizer.train_from_iterator(["\nAnswer: blue", "\nAnswer: brown", "Question: red"] * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_markers_in_a_text_are_letters_and_come_back_unchanged(tiny_tokenizer, starting_tokenizer):
    text = "a<|im_end|>\n<|im_start|>assistant <tool_call> <|endoftext|>"
    marked = set(tiny_tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>"]))
    assert len(marked & set(tiny_tokenizer.backend_tokenizer.encode(text).ids)) == 4  # elsewhere they are tokens
    for tokenizer, start in ((tiny_tokenizer, []), (starting_tokenizer, [0])):
        ids = TextEncoder(tokenizer).encode(text).ids
        assert ids[: len(start)] == start
        assert not marked & set(ids[len(start) :])
        assert tokenizer.backend_tokenizer.decode(ids[len(start) :], skip_special_tokens=False) == text


def test_the_models_start_token_stands_before_a_text_and_never_before_a_continuation(starting_tokenizer):
    encoder = TextEncoder(starting_tokenizer)
    assert encoder.encode("Which").ids == [0, *encoder.encode("Which", with_start=False).ids]
    assert 0 not in encoder.continuations("\nAnswer:", [" blue"])[0]


def test_the_encoder_leaves_the_tokenizer_as_it_was(tiny_tokenizer):
    before = tiny_tokenizer.backend_tokenizer.to_str()
    TextEncoder(tiny_tokenizer).encode("<|im_end|>")
    assert tiny_tokenizer.backend_tokenizer.to_str() == before


def test_a_tokenizer_without_fast_backend_is_refused():
    with pytest.raises(ValueError, match="object has no fast backend"):
        TextEncoder(object())  # pyright: ignore[reportArgumentType]


def test_continuations_join_to_the_whole(tiny_tokenizer):
    encoder = TextEncoder(tiny_tokenizer)
    texts = [" blue", " red at dusk", " 12", " (yes)", " é😀"]
    start = encoder.encode("\nAnswer:", with_start=False).ids
    for text, ids in zip(texts, encoder.continuations("\nAnswer:", texts), strict=True):
        assert start + ids == encoder.encode("\nAnswer:" + text, with_start=False).ids


def test_a_tokenizer_that_reads_across_the_border_is_an_error_that_names_the_option(merging_tokenizer):
    encoder = TextEncoder(merging_tokenizer)
    with pytest.raises(MergedTextError, match="' blue' does not begin a new token after 'Answer:'") as caught:
        encoder.continuations("Answer:", ["zzz", " blue"])
    assert caught.value.index == 1
    scorer = build_scorer(ClozeConfig(), TextEncoder(merging_tokenizer), 512)
    with pytest.raises(QuestionError, match=r"options\.0: ' blue' does not begin a new token") as named:
        scorer.encode(Question("q", "red", ("blue", "brown")))
    assert named.value.field == "options.0"
    with pytest.raises(ValueError, match=r"does not begin a new token|not one token each"):
        build_scorer(LetterConfig(), TextEncoder(merging_tokenizer), 512)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (" a\tb\nc ", "a\tb\nc"),
        ("a\x00b\x1bc\x85d\r\ne", "a b c d \ne"),
        ("\u202eabc\u200b", "\u202eabc\u200b"),  # direction marks are text
    ],
)
def test_cleaning_takes_control_characters_and_outer_space(text, cleaned):
    assert clean_text(text) == cleaned


def test_all_controls_but_line_feed_and_tab_are_cleaned():
    for code in range(0x1000):
        char = chr(code)
        is_control = unicodedata.category(char) == "Cc" and char not in "\n\t"
        assert clean_text(f"a{char}b") == ("a b" if is_control else f"a{char}b")


def _encoded(branches):
    return EncodedQuestion(
        tokens=tuple(range(10, 10 + len(branches))),
        positions=tuple(range(len(branches))),
        branches=tuple(branches),
        is_option=tuple(branch > 0 for branch in branches),
        options=max(branches),
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_mask_of_a_tree_by_hand(side):
    batch = collate([_encoded([0, 0, 1, 1, 2]), _encoded([0, 1, 2])], padding_side=side)
    first = [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    tree = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 1]])
    second = torch.eye(5, dtype=torch.long)  # a pad attends only to itself
    place = slice(2, 5) if side == "left" else slice(0, 3)
    second[place, place] = tree
    assert torch.equal(tree_mask(batch.branches), torch.stack([torch.tensor(first), second]).bool().unsqueeze(1))
    assert batch.shared_end.tolist() == [1, 2 if side == "left" else 0]
    assert batch.real.sum(dim=1).tolist() == [5, 3]
    assert batch.tokens[1, place].tolist() == [10, 11, 12]
    assert batch.positions[1, place].tolist() == [0, 1, 2]
    assert batch.is_option.sum(dim=1).tolist() == [3, 2]
    assert candidate_mask(batch.options, batch.width).tolist() == [[True, True], [True, True]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_portion_is_as_wide_as_its_longest(side):
    trees = [_encoded([0, 0, 1, 1, 2]), _encoded([0, 1, 2]), _encoded([0, 1])]
    whole = collate(trees, padding_side=side)
    portions = list(whole.portions(2))
    assert [tuple(portion.tokens.shape) for portion in portions] == [(2, 5), (1, 2)]
    for portion, own in zip(portions, (trees[:2], trees[2:]), strict=True):
        apart = collate(own, padding_side=side)
        for field in fields(portion):
            assert torch.equal(getattr(portion, field.name), getattr(apart, field.name)), field.name


def test_candidates_are_counted_for_each_question():
    batch = collate([_encoded([0, 1, 2, 3]), _encoded([0, 1, 2])])
    assert candidate_mask(batch.options, batch.width).tolist() == [[True, True, True], [True, True, False]]


def _longest_token(tokenizer) -> int:
    return max(map(len, tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)))


@pytest.mark.parametrize("config", SCORINGS)
def test_characters_that_cannot_fit_are_refused_before_they_are_tokenised(config, tiny_tokenizer, monkeypatch):
    scorer = build_scorer(config(max_tokens=16), TextEncoder(tiny_tokenizer), 512)
    limit = 16 * _longest_token(tiny_tokenizer)
    fitting, longer = (Question("q", "x" * (limit - 2 + more), ("a", "b")) for more in (0, 1))
    with pytest.raises(QuestionTooLongError) as tokenised:
        scorer.encode(fitting)
    assert tokenised.value.unit == "tokens"
    for name in ("encode_all", "ids_of_all"):
        monkeypatch.setattr(TextEncoder, name, lambda *_, **__: pytest.fail("tokenised"))
    with pytest.raises(QuestionTooLongError, match=f"has {limit + 1} characters, but the limit is {limit}") as refused:
        scorer.encode(longer)
    assert (refused.value.length, refused.value.limit, refused.value.unit) == (limit + 1, limit, "characters")


@settings(max_examples=300, deadline=None)
@given(text=st.text() | st.text(st.sampled_from(" eé😀\n")) | st.lists(st.sampled_from(WORDS)).map("".join))
def test_no_text_has_more_characters_than_its_tokens_can_stand_for(text, tiny_tokenizer, starting_tokenizer):
    for tokenizer in (tiny_tokenizer, starting_tokenizer):
        tokens = len(TextEncoder(tokenizer).encode(text, with_start=False))
        assert len(text) <= tokens * _longest_token(tokenizer)


def test_other_threads_run_while_a_long_text_is_tokenised(tiny_tokenizer):
    encoder = TextEncoder(tiny_tokenizer)
    assert longest_pause_share(lambda: encoder.encode("Which of these words is it? " * 100_000)) < 0.25
