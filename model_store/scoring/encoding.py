"""Questions as tokens: encoding that reads all text as plain text, and batches with a tree attention mask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from tokenizers import Encoding
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.plain_tokenizer import plain_tokenizer

PAD_BRANCH = -1
SHARED_BRANCH = 0
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


@dataclass(frozen=True, slots=True)
class EncodedQuestion:
    """The tokens of one question as a tree: a shared branch (0), then one branch (i + 1) for each option scored.

    `is_option` marks the tokens of option texts, which `feu_tokens: prompt` leaves out.
    """

    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    branches: tuple[int, ...]
    is_option: tuple[bool, ...]
    options: int

    @property
    def length(self) -> int:
        """Tokens of the question with all its options."""
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Encoded questions, padded: `tokens`, `positions`, `branches`, `is_option` are [B, T], `options` is [B].

    `shared_end` [B] is the index of the last token of the shared branch. Pads have branch -1.
    """

    tokens: Tensor
    positions: Tensor
    branches: Tensor
    is_option: Tensor
    options: Tensor
    shared_end: Tensor

    @property
    def real(self) -> Tensor:
        """Which tokens are not pads: bool [B, T]."""
        return self.branches != PAD_BRANCH

    @property
    def candidate_mask(self) -> Tensor:
        """Which of the C candidates a question has: bool [B, C], C the largest number of options of a question."""
        return torch.arange(int(self.options.max()), device=self.options.device) < self.options.unsqueeze(1)

    def attention_mask(self) -> Tensor:
        """Return which token attends to which: bool [B, 1, T, T]; see `tree_mask`."""
        return tree_mask(self.branches)

    def to(self, device: torch.device) -> TokenBatch:
        """Return the batch on a device."""
        return TokenBatch(
            *(
                tensor.to(device, non_blocking=True)
                for tensor in (self.tokens, self.positions, self.branches, self.is_option, self.options)
            ),
            shared_end=self.shared_end.to(device, non_blocking=True),
        )

    def repeat(self, times: int) -> TokenBatch:
        """Return the whole batch several times over: row b is also row B + b, 2 B + b and so on."""
        rows = (self.tokens, self.positions, self.branches, self.is_option)
        return TokenBatch(
            *(tensor.repeat(times, 1) for tensor in rows),
            options=self.options.repeat(times),
            shared_end=self.shared_end.repeat(times),
        )

    def portions(self, rows: int) -> Iterator[TokenBatch]:
        """Split the batch into parts of at most `rows` rows, each as wide in tokens as its longest question."""
        fields = (self.tokens, self.positions, self.branches, self.is_option, self.options, self.shared_end)
        return (TokenBatch(*parts)._narrow() for parts in zip(*(field.split(rows) for field in fields), strict=True))

    def _narrow(self) -> TokenBatch:
        """Drop the columns that are pads in every row."""
        columns = used_columns(self.real)
        return TokenBatch(
            tokens=self.tokens[:, columns],
            positions=self.positions[:, columns],
            branches=self.branches[:, columns],
            is_option=self.is_option[:, columns],
            options=self.options,
            shared_end=self.shared_end - columns.start,
        )


def used_columns(real: Tensor) -> slice:
    """Return the columns of `real` bool [B, T] that are not pads in at least one row; all pads are on one side."""
    columns = real.any(dim=0).nonzero()
    return slice(int(columns[0]), int(columns[-1]) + 1)


def tree_mask(branches: Tensor) -> Tensor:
    """Return which token attends to which, from the tokens' branches [B, T]: bool [B, 1, T, T].

    A token attends to the shared branch and its own, up to itself. A pad attends only to itself, so that no row is
    empty.
    """
    query, key = branches.unsqueeze(2), branches.unsqueeze(1)
    length = branches.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    visible = causal & ((key == SHARED_BRANCH) | (key == query)) & (query != PAD_BRANCH)
    return (visible | torch.eye(length, dtype=torch.bool, device=branches.device)).unsqueeze(1)


def collate(questions: Sequence[EncodedQuestion], *, padding_side: str = "right") -> TokenBatch:
    """Pad questions to the longest of them."""
    width = max(question.length for question in questions)

    def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        pads = [[fill] * (width - len(row)) for row in rows]
        sides = ([*pad, *row] if padding_side == "left" else [*row, *pad] for row, pad in zip(rows, pads, strict=True))
        return torch.tensor(list(sides))

    branches = padded([question.branches for question in questions], PAD_BRANCH)
    shared_end = (branches == SHARED_BRANCH).long() * torch.arange(width)
    return TokenBatch(
        tokens=padded([question.tokens for question in questions], 0),
        positions=padded([question.positions for question in questions], 0),
        branches=branches,
        is_option=padded([question.is_option for question in questions], 0).bool(),
        options=torch.tensor([question.options for question in questions]),
        shared_end=shared_end.argmax(dim=1),
    )
