"""Questions that are encoded together are encoded as each by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny_base import merging_tokenizer
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.scoring import Scorer, build_scorer
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import QuestionTooLongError, TextEncoder
from uq4ct.model_store.token_batch import EncodedQuestion

LIMIT = 90
ASKED = [
    Question("plain", "What colour is the sky?", ("blue", "red at dusk", "white")),
    Question("long", "What " * LIMIT, ("blue", "white")),
    Question("context", "12 + 22?", ("34", "12"), context="Sums of <|im_end|>\x00 numbers."),
    Question("characters", "x" * 100_000, ("blue", "white")),
    Question("options", "Which one?", ("brown dog", "é😀", " spaced  out ", "x", "A B C")),
]


def _encode(scorer: Scorer, question: Question) -> Any:
    try:
        return scorer.encode(question)
    except (QuestionTooLongError, QuestionError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("config", [LetterConfig(max_tokens=LIMIT), ClozeConfig(max_tokens=LIMIT)])
def test_questions_are_encoded_as_alone_with_errors_in_their_places(config, tiny_tokenizer, starting_tokenizer):
    for tokenizer in (tiny_tokenizer, starting_tokenizer):
        scorer = build_scorer(config, TextEncoder(tokenizer), 512)
        together = [
            one if isinstance(one, EncodedQuestion) else (type(one), str(one)) for one in scorer.encode_all(ASKED)
        ]
        assert together == [_encode(scorer, question) for question in ASKED]
        kinds = [QuestionTooLongError if isinstance(one, tuple) else EncodedQuestion for one in together]
        too_long = {"long", "characters"}
        assert kinds == [QuestionTooLongError if one.id in too_long else EncodedQuestion for one in ASKED]
        assert scorer.encode_all([]) == []


def test_a_merged_option_is_an_error_in_its_place():
    scorer = build_scorer(ClozeConfig(), TextEncoder(merging_tokenizer()), 512)
    good, merged = Question("good", "Which?", ("red", "white")), Question("merged", "Which?", ("red", "blue"))
    first, error, last = scorer.encode_all([good, merged, good])
    assert first == last == scorer.encode(good)
    assert isinstance(error, QuestionError)
    assert error.field == "options.1"


@pytest.mark.parametrize(("config", "calls"), [(LetterConfig(), 1), (ClozeConfig(), 2)])
def test_all_questions_are_tokenised_in_few_calls(config, calls, tiny_tokenizer, monkeypatch):
    scorer = build_scorer(config, TextEncoder(tiny_tokenizer), 512)
    tokenised: list[int] = []

    def counting(tokenise: Any) -> Any:
        def count(self: TextEncoder, texts: list[str], **options: bool) -> Any:
            tokenised.append(len(texts))
            return tokenise(self, texts, **options)

        return count

    for name in ("encode_all", "ids_of_all"):
        monkeypatch.setattr(TextEncoder, name, counting(getattr(TextEncoder, name)))
    scorer.encode_all([ASKED[0]] * 200)
    assert len(tokenised) == calls
