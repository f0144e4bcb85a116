"""Cloze scoring: the likelihood of each option after the shared question, all options in one sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from uq4ct.model_store.questions import Question, QuestionError, normalise_option
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.scoring.encoding import (
    EncodedQuestion,
    MergedTextError,
    QuestionTooLongError,
    TextEncoder,
    TokenBatch,
    clean_text,
)
from uq4ct.model_store.scoring.tokenising import Encoded, context_of, encode_one, encode_short

ANCHOR = "\nAnswer:"
HEAD_ROWS_AT_ONCE = 32  # of vocabulary logits, for option tokens only: chunks that need no more memory than a layer


class ClozeScorer(nn.Module):
    """Scores options by the mean (or sum) of their tokens' log-likelihoods times a learned scale that starts at 1."""

    features_per_option: ClassVar[bool] = True

    def __init__(self, config: ClozeConfig, encoder: TextEncoder, window: int) -> None:
        super().__init__()
        self.token_limit = min(config.max_tokens, window)
        self._reduction = config.reduction
        self._encoder = encoder
        self.log_scale = nn.Parameter(torch.zeros(()))

    @property
    def company(self) -> str:
        """Scorers with the same company can score one batch together; only their scales differ."""
        return f"cloze, {self._reduction}"

    def encode(self, question: Question) -> EncodedQuestion:
        """Tokenise a question; the options are branches that all start at the position after the shared part.

        Raises:
            QuestionTooLongError: the question with all its options is longer than the limit.
            QuestionError: the tokenizer merges the start of an option with the text before it.
        """
        return encode_one(self, question)

    def encode_all(self, questions: Sequence[Question]) -> list[Encoded]:
        """Tokenise questions at once, on all threads; in place of one that is not encoded, the error of `encode`."""
        return encode_short(self._encoder, questions, self.token_limit, self._encode_short)

    def _encode_short(self, questions: Sequence[Question]) -> Iterator[Encoded]:
        texts = [f"{context_of(question)}Question: {clean_text(question.text)}{ANCHOR}" for question in questions]
        options = [[f" {normalise_option(option)}" for option in question.options] for question in questions]
        shared = self._encoder.ids_of_all(texts)
        continued = self._encoder.continuations_of_each(ANCHOR, options)
        for tokens, branches in zip(shared, continued, strict=True):
            if isinstance(branches, MergedTextError):
                error = QuestionError(f"options.{branches.index}", str(branches))
                error.__cause__ = branches
                yield error
            else:
                yield self._join(tokens, branches)

    def _join(self, shared: list[int], options: list[list[int]]) -> EncodedQuestion | QuestionTooLongError:
        length = len(shared) + sum(map(len, options))
        if length > self.token_limit:
            return QuestionTooLongError(length, self.token_limit)
        tokens, positions, branches = list(shared), list(range(len(shared))), [0] * len(shared)
        for branch, option in enumerate(options, start=1):
            tokens += option
            positions += range(len(shared), len(shared) + len(option))
            branches += [branch] * len(option)
        return EncodedQuestion(
            tokens=tuple(tokens),
            positions=tuple(positions),
            branches=tuple(branches),
            is_option=(False,) * len(shared) + (True,) * (len(tokens) - len(shared)),
            options=len(options),
        )

    def forward(self, hidden: Tensor, batch: TokenBatch, head: nn.Linear, scale: Tensor | None = None) -> Tensor:
        """Return candidate logits [B, C] in fp32 from the final hidden states [B, T, d]; absent candidates are -inf.

        `scale` [B, 1], one for each question, replaces the learned one.
        """
        mask = batch.candidate_mask
        row, column, slot = _option_tokens(batch)
        likelihoods = _log_likelihoods(hidden, head, row, _predecessors(batch, row, column), batch.tokens[row, column])
        sums = likelihoods.new_zeros(mask.numel()).index_add(0, slot, likelihoods)
        if self._reduction == "mean":
            sums = sums / torch.bincount(slot, minlength=mask.numel()).clamp(min=1)
        scale = self.log_scale.exp() if scale is None else scale
        return (sums.view_as(mask) * scale).masked_fill(~mask, -torch.inf)

    def answer_positions(self, batch: TokenBatch) -> Tensor:
        """Mark the tokens whose final hidden states are scored, those before option tokens: bool [B, T]."""
        row, column = (batch.branches > 0).nonzero(as_tuple=True)
        positions = torch.zeros_like(batch.is_option)
        positions[row, _predecessors(batch, row, column)] = True
        return positions

    def features(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        """Return the mean final hidden state of each option's own tokens: fp32 [B, C, d], 0 at absent candidates."""
        mask = batch.candidate_mask
        row, column, slot = _option_tokens(batch)
        states = hidden[row, column].to(torch.promote_types(hidden.dtype, torch.float32))
        sums = states.new_zeros(mask.numel(), states.shape[1]).index_add(0, slot, states)
        means = sums / torch.bincount(slot, minlength=mask.numel()).clamp(min=1).unsqueeze(1)
        return means.view(*mask.shape, -1)


def _option_tokens(batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return row and column of every option token, and the slot b * C + c of its candidate: [R] each."""
    row, column = (batch.branches > 0).nonzero(as_tuple=True)
    return row, column, row * batch.candidate_mask.shape[1] + batch.branches[row, column] - 1


def _predecessors(batch: TokenBatch, row: Tensor, column: Tensor) -> Tensor:
    """Return the column of the token before each option token: in its own branch, or the end of the shared branch."""
    before = (column - 1).clamp(min=0)
    inside = batch.branches[row, before] == batch.branches[row, column]
    return torch.where(inside, before, batch.shared_end[row])


def _log_likelihoods(hidden: Tensor, head: nn.Linear, row: Tensor, column: Tensor, target: Tensor) -> Tensor:
    """Return each target token's log-probability [R] given the state at (row, column); each state is read once."""
    places, reader = torch.unique(row * hidden.shape[1] + column, return_inverse=True)
    states = hidden.flatten(0, 1)
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    likelihoods = torch.zeros(len(target), dtype=dtype, device=hidden.device)
    for first in range(0, len(places), HEAD_ROWS_AT_ONCE):
        logits = head(states[places[first : first + HEAD_ROWS_AT_ONCE]]).to(dtype)  # [rows, vocabulary]
        chosen = ((reader >= first) & (reader < first + HEAD_ROWS_AT_ONCE)).nonzero().squeeze(1)
        local = reader[chosen] - first
        values = logits[local, target[chosen]] - logits.logsumexp(dim=-1)[local]
        likelihoods = likelihoods.index_put((chosen,), values)
    return likelihoods
