"""Tokens in one row without pads: they return to their places, and attend as if every question were alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.base.attention import grouped_attention
from uq4ct.model_store.base.layouts import GroupPlan, PackedAttention, _row_length, pack
from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.token_batch import EncodedQuestion, TokenBatch, collate, tree_mask

HEADS, WIDTH = 2, 4
TREES = st.lists(
    st.tuples(st.integers(1, 12), st.lists(st.integers(1, 4), min_size=1, max_size=4)), max_size=8, min_size=1
)


def encoded(shared: int, options: list[int], first: int = 10) -> EncodedQuestion:
    branches = [0] * shared + [branch for branch, count in enumerate(options, 1) for _ in range(count)]
    positions = list(range(shared)) + [shared + place for count in options for place in range(count)]
    return EncodedQuestion(
        tokens=tuple(range(first, first + len(branches))),
        positions=tuple(positions),
        branches=tuple(branches),
        is_option=tuple(branch > 0 for branch in branches),
        options=len(options),
    )


def batch_of(trees: list[tuple[int, list[int]]], side: str) -> TokenBatch:
    return collate([encoded(*tree, first=100 * row) for row, tree in enumerate(trees)], padding_side=side)


def scored(batch: TokenBatch, model: AdaptedModel, padded: bool) -> Any:
    """Return the model's output with or without pads: a bank call that only delegates gets padded rows."""

    def through(place: str, bank: nn.Module, *arguments: Any) -> Any:
        return bank(*arguments)

    return model(batch, through if padded else None)


@given(TREES, st.sampled_from(["left", "right"]), st.integers(1, 3))
def test_every_real_token_is_in_the_row_once_and_comes_back(
    trees: list[tuple[int, list[int]]], side: str, parts: int
) -> None:
    batch = batch_of(trees, side).repeat(parts)
    packed = pack(batch, parts)
    assert packed.tokens[0, packed.kept].tolist() == batch.tokens[batch.real].tolist()
    assert packed.positions[0, packed.kept].tolist() == batch.positions[batch.real].tolist()
    whole = packed.kept.view(parts, -1)
    width = packed.tokens.shape[1] // parts
    assert (whole // width).tolist() == [[part] * whole.shape[1] for part in range(parts)]
    assert list(packed.question_tokens) == batch.real.sum(dim=1).tolist()


@given(st.integers(1, 5000))
def test_rows_have_few_lengths_and_few_blanks(tokens: int) -> None:
    assert 0 <= _row_length(tokens) - tokens <= max(3, tokens / 16)
    assert _row_length(_row_length(tokens)) == _row_length(tokens)
    assert len({_row_length(shorter) for shorter in range(1, tokens + 1)}) <= 16 * tokens.bit_length()


@settings(deadline=None)
@given(TREES, st.sampled_from(["left", "right"]), st.integers(0, 2**31))
def test_a_question_in_a_row_attends_as_it_does_alone(trees: list[tuple[int, list[int]]], side: str, seed: int) -> None:
    packed = pack(batch_of(trees, side))
    generator = torch.Generator().manual_seed(seed)
    tokens = packed.tokens.shape[1]
    query, key, value = (torch.randn(1, HEADS, tokens, WIDTH, generator=generator) for _ in range(3))
    output, _ = grouped_attention(nn.Module(), query, key, value, *packed.attention.arguments())
    begin = 0  # blanks are at the end
    for tree in trees:
        alone = batch_of([tree], side)
        place = slice(begin, begin + alone.tokens.shape[1])
        mask = tree_mask(alone.branches)
        expected = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, place], key[:, :, place], value[:, :, place], attn_mask=mask
        )
        torch.testing.assert_close(output[:, place], expected.transpose(1, 2), rtol=0, atol=1e-5)
        begin = place.stop


def groups_of(trees: list[tuple[int, list[int]]]) -> tuple[GroupPlan, ...]:
    attention = pack(batch_of(trees, "right")).attention
    assert isinstance(attention, PackedAttention)
    return attention.groups


@given(TREES)
def test_no_group_has_more_pads_than_tokens(trees: list[tuple[int, list[int]]]) -> None:
    for group in groups_of(trees):
        assert group.kept.numel() * 2 >= group.tokens.numel()


def test_questions_of_like_length_are_one_group() -> None:
    sizes = [len(group.tokens) for group in groups_of([(30, [2]), (3, [1]), (16, [1]), (33, [1])])]
    assert sizes == [3, 1]  # 34, 32 and 17 tokens together; 4 alone


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("placement", ["layer", "block"])
@pytest.mark.parametrize("scoring", [LetterConfig(), ClozeConfig()], ids=lambda scoring: scoring.kind)
def test_pads_change_nothing(
    tiny_base: BaseModel, make_model: Any, questions: list[Question], scoring: Any, placement: Any, side: str
) -> None:
    mixing = "raw" if placement == "layer" else "renormalised"
    model = make_model(tiny_base, scoring, placement=placement, mixing=mixing)
    batch = collate([model.scorer.encode(question) for question in questions], padding_side=side)
    packed, padded = (scored(batch, model, padded) for padded in (False, True))
    torch.testing.assert_close(packed.logits, padded.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(packed.feu, padded.feu, rtol=0, atol=1e-6)
    for one, other in zip(packed.routing, padded.routing, strict=True):
        torch.testing.assert_close(one.probabilities, other.probabilities, rtol=0, atol=1e-5)
        torch.testing.assert_close(one.gates, other.gates, rtol=0, atol=1e-5)


def test_pads_change_no_gradient(tiny_base: BaseModel, make_model: Any, questions: list[Question]) -> None:
    model = make_model(tiny_base, training=True)
    batch = collate([model.scorer.encode(question) for question in questions])
    gradients = []
    for padded in (False, True):
        output = scored(batch, model, padded)
        (output.logits.logsumexp(dim=1).sum() + output.feu.sum()).backward()
        gradients.append(
            [parameter.grad for parameter in model.adapter_tensors().values() if parameter.grad is not None]
        )
        for parameter in model.adapter_tensors().values():
            parameter.grad = None
    assert len(gradients[0]) == len(gradients[1]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_decoder_works_on_real_tokens_only(
    tiny_base: BaseModel, make_model: Any, questions: list[Question]
) -> None:
    model = make_model(tiny_base)
    batch = collate([model.scorer.encode(question) for question in questions])
    seen: list[torch.Size] = []
    norm = model.tuner.model.get_decoder().layers[1].post_attention_layernorm
    hook = norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    scored(batch, model, padded=False)
    hook.remove()
    ((rows, tokens, _),) = seen
    assert (rows, tokens) == (1, pack(batch).tokens.shape[1])
    assert batch.real.sum() <= tokens < batch.real.numel()
