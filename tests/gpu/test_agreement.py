"""The comparison of answers: what it accepts and what it rejects."""

from __future__ import annotations

import math

import pytest
import torch

from tests.gpu.agreement import TOLERANCES, Tolerance, compare_answers, relative_change, relative_distance
from tests.gpu.serving import HttpAnswer

TOLERANCE = Tolerance(probability=0.01, mean=0.005, feu=0.001, loss=0.0, gradient=0.0, update=0.0)
REFERENCE = [HttpAnswer((0.25, 0.75), 0.5), HttpAnswer((0.5, 0.25, 0.25), 0.25)]


def _holds(*answers: HttpAnswer) -> bool:
    return all(figure.holds for figure in compare_answers(answers, REFERENCE, TOLERANCE))


def test_answers_within_the_tolerance_pass() -> None:
    assert _holds(*REFERENCE)
    assert _holds(HttpAnswer((0.2578125, 0.7421875), 0.5), REFERENCE[1])


@pytest.mark.parametrize("wrong", [
    HttpAnswer((0.265625, 0.734375), 0.5), HttpAnswer((0.75, 0.25), 0.5), HttpAnswer((0.25, 0.75), 0.5078125),
    HttpAnswer((math.nan, 0.75), 0.5), HttpAnswer((0.25, 0.75), math.nan),
])  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_one_wrong_answer_is_rejected(wrong: HttpAnswer, first: bool) -> None:
    answers, reference = [wrong, REFERENCE[1]], REFERENCE
    if not first:
        answers, reference = answers[::-1], REFERENCE[::-1]
    assert not all(figure.holds for figure in compare_answers(answers, reference, TOLERANCE))


def test_many_small_changes_are_rejected_by_their_mean() -> None:
    answers = [HttpAnswer((0.2578125, 0.7421875), 0.5), HttpAnswer((0.5078125, 0.2421875, 0.25), 0.25)]
    assert [figure.holds for figure in compare_answers(answers, REFERENCE, TOLERANCE)] == [True, False, True]


@pytest.mark.parametrize("answers", [
    REFERENCE[:1], [*REFERENCE, REFERENCE[0]], REFERENCE[::-1], [HttpAnswer((0.25, 0.75), None), REFERENCE[1]],
])  # fmt: skip
def test_answers_to_other_questions_are_an_error(answers: list[HttpAnswer]) -> None:
    with pytest.raises(ValueError, match=r"FEU|zip"):
        compare_answers(answers, REFERENCE, TOLERANCE)


def test_the_changes_are_those_of_a_hand_calculation() -> None:
    answers = [HttpAnswer((0.3125, 0.6875), 0.5), HttpAnswer((0.5, 0.25, 0.25), 0.375)]
    largest, mean, feu = compare_answers(answers, REFERENCE, TOLERANCE)
    assert largest.value == pytest.approx(0.0625)
    assert mean.value == pytest.approx(2 * 0.0625 / 5)
    assert feu.value == pytest.approx(0.125)
    assert relative_change(1.5, 2.0) == 0.25
    assert relative_distance(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])) == pytest.approx(5 / 4)


def test_fewer_bits_are_allowed_to_differ_more() -> None:
    fp32, fp16, bf16 = (TOLERANCES[dtype] for dtype in ("float32", "float16", "bfloat16"))
    for field in ("probability", "mean", "feu", "loss", "gradient", "update"):
        assert getattr(fp32, field) < getattr(fp16, field) < getattr(bf16, field)
