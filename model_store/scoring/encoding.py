"""Questions as tokens: encoding that reads all text as plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tokenizers import Encoding

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.plain_tokenizer import plain_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # category Cc except line feed and tab


class QuestionTooLongError(UserError, ValueError):
    """A question that does not fit the token limit; questions are never truncated.

    `length` and `limit` count `unit`: characters if the question has so many that it was not tokenised.
    """

    def __init__(self, length: int, limit: int, unit: Literal["tokens", "characters"] = "tokens") -> None:
        super().__init__(f"the question with its options has {length} {unit}, but the limit is {limit}")
        self.length = length
        self.limit = limit
        self.unit = unit


class MergedTextError(ValueError):
    """A text that the tokenizer merges with the text before it; `index` says which of several."""

    def __init__(self, index: int, text: str, anchor: str) -> None:
        super().__init__(f"{text[:80]!r} does not begin a new token after {anchor!r}")
        self.index = index


class TextEncoder:
    """A tokenizer that reads all text as text: `<|im_end|>` in a question is ten characters, never the special token.

    Stateless after construction, so several threads may encode at once.

    Raises:
        TokenizerError: the tokenizer cannot be used; see `plain_tokenizer`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = plain_tokenizer(tokenizer)
        # A token never represents more characters than its vocabulary entry has; byte-level entries have one per byte.
        self._longest_token = max(map(len, self._tokenizer.get_vocab(with_added_tokens=False)))

    def check_characters(self, question: Question, token_limit: int) -> None:
        """Reject a question that has more characters than fit into the token limit, before they are tokenised.

        Characters are counted as they were sent, before white space is normalised.

        Raises:
            QuestionTooLongError: it has more characters than `token_limit` of the longest tokens.
        """
        limit = token_limit * self._longest_token
        if question.characters > limit:
            raise QuestionTooLongError(question.characters, limit, "characters")

    def encode(self, text: str, *, with_start: bool = True) -> Encoding:
        """Tokenise `text`; `with_start` puts the model's start token, if it has one, before it."""
        (encoding,) = self.encode_all([text], with_start=with_start)
        return encoding

    def encode_all(self, texts: Sequence[str], *, with_start: bool = True) -> list[Encoding]:
        """Tokenise texts on all threads, without Python's lock; `with_start` as in `encode`."""
        return self._tokenizer.encode_batch(texts, add_special_tokens=with_start)

    def ids_of_all(self, texts: Sequence[str], *, with_start: bool = True) -> list[list[int]]:
        """Return the tokens of `encode_all` in less time, because nothing else is computed."""
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=with_start)
        return [encoding.ids for encoding in encoded]

    def continuations(self, anchor: str, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text when it follows `anchor`.

        Raises:
            MergedTextError: the tokenizer merges the anchor's end with a text's start.
        """
        (continued,) = self.continuations_of_each(anchor, [texts])
        if isinstance(continued, MergedTextError):
            raise continued
        return continued

    def continuations_of_each(
        self, anchor: str, groups: Sequence[Sequence[str]]
    ) -> list[list[list[int]] | MergedTextError]:
        """Return `continuations` of each group of texts, or the error of a group, with all tokenised at once."""
        texts = [anchor + text for group in groups for text in group]
        start, *encoded = self.ids_of_all([anchor, *texts], with_start=False)
        rest = iter(encoded)
        return [_cut(anchor, start, group, [next(rest) for _ in group]) for group in groups]


def _cut(
    anchor: str, start: list[int], texts: Sequence[str], encoded: list[list[int]]
) -> list[list[int]] | MergedTextError:
    """Return the tokens after `start` of each text, or an error if one does not begin with it."""
    for index, ids in enumerate(encoded):
        if ids[: len(start)] != start or len(ids) == len(start):
            return MergedTextError(index, texts[index], anchor)
    return [ids[len(start) :] for ids in encoded]


def clean_text(text: str) -> str:
    """Replace control characters other than line breaks and tabs by spaces, and strip white space at both ends."""
    return _CONTROLS.sub(" ", text).strip()
