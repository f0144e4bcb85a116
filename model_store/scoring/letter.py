"""Letter scoring, as in the paper: all options in the prompt, and the logits of their letters after the last token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from tokenizers import Encoding
from torch import Tensor, nn

from uq4ct.model_store.base.head import OutputHead
from uq4ct.model_store.index_plan import IndexPlan
from uq4ct.model_store.questions import LABELS, Question, normalise_option
from uq4ct.model_store.scoring.config import LetterConfig
from uq4ct.model_store.scoring.encoding import MergedTextError, QuestionTooLongError, TextEncoder, clean_text
from uq4ct.model_store.scoring.plain_tokenizer import TokenizerError
from uq4ct.model_store.scoring.tokenising import Encoded, context_of, encode_one, encode_short
from uq4ct.model_store.token_batch import EncodedQuestion, TokenBatch, candidate_mask

SUFFIX = "\nAnswer:"


@dataclass(frozen=True, slots=True)
class LetterPlan(IndexPlan):
    """Where a batch's candidates are read: at the last token of each question, of the N real tokens.

    `read` [B] are the indices of these tokens, `question` [B] their rows of the batch, `options` [B] the numbers of
    options, `width` the largest of them, C.
    """

    read: Tensor
    question: Tensor
    options: Tensor
    width: int

    def features(self, hidden: Tensor) -> Tensor:
        """Return the final hidden state at the last token for all candidates: fp32 [B, C, d], expanded, no copy."""
        last = hidden[self.read]
        last = last.to(torch.promote_types(hidden.dtype, torch.float32))
        return last.unsqueeze(1).expand(-1, self.width, -1)


class LetterScorer(nn.Module):
    """Scores options by the logit of their letter.

    Raises:
        TokenizerError: after the prompt's suffix, a letter is not a single token or two letters share one.
    """

    features_per_option: ClassVar[bool] = False
    company: ClassVar[str] = "letter"  # scorers with the same company can score one batch together

    def __init__(self, config: LetterConfig, encoder: TextEncoder, window: int) -> None:
        super().__init__()
        self.token_limit = min(config.max_tokens, window)
        self._encoder = encoder
        self.register_buffer("letter_ids", _letter_ids(encoder), persistent=False)
        self.letter_ids: Tensor

    def encode(self, question: Question) -> EncodedQuestion:
        """Tokenise a question with all its options.

        Raises:
            QuestionTooLongError: the prompt is longer than the limit.
        """
        return encode_one(self, question)

    def encode_all(self, questions: Sequence[Question]) -> list[Encoded]:
        """Tokenise questions at once, on all threads; in place of one that is not encoded, the error of `encode`."""
        return encode_short(self._encoder, questions, self.token_limit, self._encode_short)

    def _encode_short(self, questions: Sequence[Question]) -> Iterator[Encoded]:
        asked = [f"{context_of(question)}Question: {clean_text(question.text)}" for question in questions]
        options = ["".join(map(_option_line, LABELS, question.options)) for question in questions]
        texts = [first + rest for first, rest in zip(asked, options, strict=True)]
        encoded = self._encoder.encode_all([text + SUFFIX for text in texts])
        for question, first, text, encoding in zip(questions, asked, texts, encoded, strict=True):
            yield self._check_length(encoding, len(question.options), len(first), len(text))

    def _check_length(self, encoding: Encoding, options: int, begin: int, end: int) -> Encoded:
        """Return the prompt, whose characters from `begin` to `end` are options, or an error if it is too long."""
        length = len(encoding)
        if length > self.token_limit:
            return QuestionTooLongError(length, self.token_limit)
        return EncodedQuestion(
            tokens=tuple(encoding.ids),
            positions=tuple(range(length)),
            branches=(0,) * length,
            # A token belongs to the text in which it begins; offsets count characters, and the start token's are 0.
            is_option=tuple(begin <= first < end for first, _ in encoding.offsets),
            options=options,
        )

    def plan(self, batch: TokenBatch, vocabulary: int) -> LetterPlan:  # noqa: ARG002
        """Return where the batch's candidates are read; `vocabulary` is the number of rows of the head."""
        rows = torch.arange(len(batch.options))
        return LetterPlan(batch.numbers[rows, batch.shared_end], rows, batch.options, batch.width)

    def forward(self, hidden: Tensor, plan: LetterPlan, head: OutputHead) -> Tensor:
        """Return candidate logits [B, C] in fp32 from the real tokens' states [N, d]; absent candidates are -inf."""
        logits = head.logits_of(hidden[plan.read], self.letter_ids[: plan.width])
        return logits.masked_fill(~candidate_mask(plan.options, plan.width), -torch.inf)


def _option_line(label: str, option: str) -> str:
    return f"\n{label}. {normalise_option(option)}"


def _letter_ids(encoder: TextEncoder) -> Tensor:
    try:
        tokens = encoder.continuations(SUFFIX, [f" {label}" for label in LABELS])
    except MergedTextError as error:
        raise TokenizerError(f"{error}: use cloze scoring") from error
    broken = [label for label, ids in zip(LABELS, tokens, strict=True) if len(ids) != 1]
    if broken:
        raise TokenizerError(f"after {SUFFIX!r} the letters {broken} are not one token each: use cloze scoring")
    ids = [token for (token,) in tokens]
    if len(set(ids)) != len(ids):
        raise TokenizerError(f"after {SUFFIX!r} two letters share one token: use cloze scoring")
    return torch.tensor(ids)
