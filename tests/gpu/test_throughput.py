"""Floating-point operations against a hand calculation and against the modules of a real model."""

from __future__ import annotations

import itertools
import time

import pytest
import torch
from torch import nn

from tests.gpu.adapters import ROUTED
from tests.gpu.flops import Weights, Work
from tests.gpu.shapes import SHAPES, quiz, random_base
from tests.gpu.throughput import seconds_per_call, take_tokens, weights_of, work_of
from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.base.identity import EMBEDDED
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.scoring.config import ClozeConfig

CPU = torch.device("cpu")


def test_flops_are_those_of_a_hand_calculation() -> None:
    weights = Weights(base=100, adapter=10, head=50, attention=8)
    work = Work.of([3, 4], head_rows=2)
    assert work == Work(tokens=7, squares=25, head_rows=2)
    forward = 2 * 7 * 110 + 2 * 2 * 50 + 4 * 25 * 8
    assert weights.forward_flops(work) == forward
    backward = 2 * 7 * 110 + 2 * 2 * 50 + 8 * 25 * 8
    assert weights.training_flops(work) == forward + backward + 2 * 7 * 10


@pytest.mark.parametrize(("shape", "billions"), [(EMBEDDED, 0.1345), ("llama-1b", 1.2358), ("llama-7b", 6.7382)])
def test_the_shapes_have_as_many_weights_as_the_models_that_they_are_named_after(shape: str, billions: float) -> None:
    assert SHAPES[shape].parameters / 1e9 == pytest.approx(billions, abs=2e-4)


def test_the_weights_are_those_that_the_linears_of_a_model_multiply_by() -> None:
    """Every linear and router reports its inputs; the products are counted from their shapes."""
    base = random_base(SHAPES["tiny"], CPU, "float32")
    model = add_adapter(base, ROUTED, ClozeConfig())
    seen = [0]

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        if isinstance(module, nn.Linear):
            seen[0] += 2 * inputs[0].numel() // module.in_features * module.weight.numel()

    hooks = [module.register_forward_hook(count) for module in base.model.modules()]
    predictor = Predictor(model, PointPosterior())
    encoded = take_tokens(predictor, 300)
    predictor.candidate_samples(encoded)
    for hook in hooks:
        hook.remove()
    work, weights = work_of(model, encoded), weights_of(model, "tiny")
    # The packed row has a few blanks more than tokens, at most a sixteenth.
    linears = 2 * work.tokens * weights.base + 2 * work.head_rows * weights.head
    assert linears <= seen[0] <= linears * 17 / 16
    # 64 rows of A and columns of B for each input and output of the linears, and 8 experts' rows of a router.
    in_and_out = (64 + 64) + 2 * (64 + 32) + (64 + 64) + 3 * (64 + 160)
    assert weights.adapter == 3 * (64 * in_and_out + 8 * 64)


def test_questions_are_taken_up_to_so_many_tokens() -> None:
    base = random_base(SHAPES["tiny"], CPU, "float32")
    predictor = Predictor(add_adapter(base, ROUTED, ClozeConfig()), PointPosterior())
    lengths = [question.length for question in take_tokens(predictor, 1000)]
    following = predictor.encode(next(itertools.islice(itertools.cycle(quiz()), len(lengths), None))).length
    assert sum(lengths) <= 1000 < sum(lengths) + following


def test_the_seconds_of_a_call_leave_the_first_one_out() -> None:
    calls = iter(range(10**9))

    def run() -> None:
        if next(calls) == 0:
            time.sleep(0.2)

    assert seconds_per_call(run, CPU) < 0.1
