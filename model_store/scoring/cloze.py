"""Cloze scoring: the likelihood of each option after the shared question, all options in one sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from uq4ct.model_store.base.head import OutputHead
from uq4ct.model_store.index_plan import IndexPlan
from uq4ct.model_store.questions import Question, QuestionError, normalise_option
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.scoring.encoding import MergedTextError, QuestionTooLongError, TextEncoder, clean_text
from uq4ct.model_store.scoring.tokenising import Encoded, context_of, encode_one, encode_short
from uq4ct.model_store.token_batch import EncodedQuestion, TokenBatch, candidate_mask

ANCHOR = "\nAnswer:"
HEAD_BYTES = 1 << 23  # of vocabulary logits in fp32 that are computed together, for the states before option tokens


class Piece(NamedTuple):
    """States `first` to `last` that the head reads together, and the option tokens `begin` to `end` they predict."""

    first: int
    last: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class ClozePlan(IndexPlan):
    """Where a batch's candidates are read, of its N real tokens: at the token before each token of an option.

    `read` [P] are the indices of these tokens, ascending, and `question` [P] their rows of the batch. Of the R option
    tokens, `own` [R] are the indices, `target` [R] the vocabulary entries, `reader` [R] the states in `read` that
    predict them, ascending, and `slot` [R] their candidates b * C + c. `lengths` [B, C] counts each candidate's tokens,
    at least 1; `options` [B] are the numbers of options, `width` the largest of them, C.
    """

    read: Tensor
    question: Tensor
    options: Tensor
    own: Tensor
    target: Tensor
    reader: Tensor
    slot: Tensor
    lengths: Tensor
    pieces: tuple[Piece, ...]
    width: int

    def features(self, hidden: Tensor) -> Tensor:
        """Return the mean final hidden state of each option's own tokens: fp32 [B, C, d], 0 at absent candidates."""
        states = hidden[self.own].to(torch.promote_types(hidden.dtype, torch.float32))
        sums = states.new_zeros(self.lengths.numel(), states.shape[1]).index_add(0, self.slot, states)
        return sums.view(*self.lengths.shape, -1) / self.lengths.unsqueeze(-1)


class ClozeScorer(nn.Module):
    """Scores options by the mean (or sum) of their tokens' log-likelihoods times a learned scale that starts at 1."""

    features_per_option: ClassVar[bool] = True

    def __init__(self, config: ClozeConfig, encoder: TextEncoder, window: int) -> None:
        super().__init__()
        self.token_limit = min(config.max_tokens, window)
        self._reduction = config.reduction
        self._encoder = encoder
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.recompute = False  # compute the logits of the vocabulary again in the backward pass

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

    def plan(self, batch: TokenBatch, vocabulary: int) -> ClozePlan:
        """Return where the batch's candidates are read; `vocabulary` is the number of rows of the head."""
        numbers, width = batch.numbers, batch.width
        row, column = (batch.branches > 0).nonzero(as_tuple=True)
        before = _predecessors(batch, row, column)
        read, reader = torch.unique(row * numbers.shape[1] + before, return_inverse=True)
        order = reader.argsort(stable=True)  # the options' tokens that a state predicts, state by state
        row, column, reader = row[order], column[order], reader[order]
        slot = row * width + batch.branches[row, column] - 1
        return ClozePlan(
            read=numbers.flatten()[read],
            question=torch.div(read, numbers.shape[1], rounding_mode="floor"),
            options=batch.options,
            own=numbers[row, column],
            target=batch.tokens[row, column],
            reader=reader,
            slot=slot,
            lengths=torch.bincount(slot, minlength=len(numbers) * width).clamp(min=1).view(-1, width),
            pieces=tuple(_pieces(reader, len(read), max(1, HEAD_BYTES // (4 * vocabulary)))),
            width=width,
        )

    def forward(self, hidden: Tensor, plan: ClozePlan, head: OutputHead, scale: Tensor | None = None) -> Tensor:
        """Return candidate logits [B, C] in fp32 from the real tokens' states [N, d]; absent candidates are -inf.

        `scale` [B, 1], one for each question, replaces the learned one.
        """
        likelihoods = _log_likelihoods(hidden, head, plan, self.recompute)
        sums = likelihoods.new_zeros(plan.lengths.numel()).index_add(0, plan.slot, likelihoods)
        sums = sums.view_as(plan.lengths)
        if self._reduction == "mean":
            sums = sums / plan.lengths
        scale = self.log_scale.exp() if scale is None else scale
        return (sums * scale).masked_fill(~candidate_mask(plan.options, plan.width), -torch.inf)


def _predecessors(batch: TokenBatch, row: Tensor, column: Tensor) -> Tensor:
    """Return the column of the token before each option token: in its own branch, or the end of the shared branch."""
    before = (column - 1).clamp(min=0)
    inside = batch.branches[row, before] == batch.branches[row, column]
    return torch.where(inside, before, batch.shared_end[row])


def _pieces(reader: Tensor, states: int, rows: int) -> Iterator[Piece]:
    """Yield pieces of at most `rows` states; `reader` [R] is ascending."""
    for first in range(0, states, rows):
        last = min(first + rows, states)
        begin, end = torch.searchsorted(reader, torch.tensor([first, last])).tolist()
        yield Piece(first, last, begin, end)


def _log_likelihoods(hidden: Tensor, head: OutputHead, plan: ClozePlan, recompute: bool) -> Tensor:
    """Return the log-probability [R] of each option token given the state before it; each state is read once."""
    return torch.cat([_read_piece(hidden, head, plan, piece, recompute) for piece in plan.pieces])


def _read_piece(hidden: Tensor, head: OutputHead, plan: ClozePlan, piece: Piece, recompute: bool) -> Tensor:
    """Return the log-probabilities of a piece's option tokens; its logits of the vocabulary are the largest tensors."""
    local = plan.reader[piece.begin : piece.end] - piece.first
    target = plan.target[piece.begin : piece.end]

    def read(states: Tensor) -> Tensor:
        logits = head.logits(states)  # [rows, vocabulary]
        return logits[local, target] - logits.logsumexp(dim=-1)[local]

    states = hidden[plan.read[piece.first : piece.last]]
    if recompute and torch.is_grad_enabled():
        return cast(Tensor, checkpoint(read, states, use_reentrant=False))
    return read(states)
