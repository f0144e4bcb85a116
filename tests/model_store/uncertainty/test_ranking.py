"""AUROC against scikit-learn and its invariances; risk and coverage by hand."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor

from uq4ct.model_store.uncertainty.ranking import area_under_risk_coverage, auroc, risk_coverage


def bools(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Scores with many ties, and labels of both classes."""
    rows = draw(st.lists(st.tuples(st.integers(-8, 8), st.booleans()), max_size=40))
    rows += [(draw(st.integers(-8, 8)), True), (draw(st.integers(-8, 8)), False)]
    return torch.tensor([score / 8 for score, _ in rows]), torch.tensor([label for _, label in rows])


@settings(deadline=None, max_examples=100)
@given(rows=scored_rows())
def test_auroc_agrees_with_scikit_learn(rows: tuple[Tensor, Tensor]) -> None:
    score, positive = rows
    assert auroc(score, positive) == pytest.approx(roc_auc_score(positive.numpy(), score.numpy()), abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(rows=scored_rows(), data=st.data())
def test_auroc_invariances(rows: tuple[Tensor, Tensor], data: st.DataObject) -> None:
    score, positive = rows
    value = auroc(score, positive)
    assert value is not None
    order = torch.tensor(data.draw(st.permutations(range(len(score)))))
    assert auroc(score[order], positive[order]) == value
    assert auroc(score.double().exp() * 3 - 7, positive) == value  # any rising transformation
    assert auroc(-score, positive) == pytest.approx(1 - value, abs=1e-12)
    assert auroc(score, ~positive) == pytest.approx(1 - value, abs=1e-12)
    assert auroc(torch.zeros_like(score), positive) == 0.5


def test_auroc_by_hand() -> None:
    # Pairs (positive, negative): (3,1) 1, (3,2) 1, (2,1) 1, (2,2) 1/2.
    assert auroc(torch.tensor([3.0, 2.0, 1.0, 2.0]), bools(1, 1, 0, 0)) == 3.5 / 4
    assert auroc(torch.tensor([1.0, 2.0]), bools(1, 1)) is None
    assert auroc(torch.tensor([1.0, 2.0]), bools(0, 0)) is None
    assert auroc(torch.tensor([]), bools()) is None


def test_risk_coverage_by_hand() -> None:
    confidence = torch.tensor([0.5, 0.9, 0.7, 0.6])
    coverage, risk = risk_coverage(confidence, bools(1, 1, 0, 0))
    assert coverage.tolist() == [1 / 4, 2 / 4, 3 / 4, 1]
    assert risk.tolist() == [0, 1 / 2, 2 / 3, 2 / 4]
    assert area_under_risk_coverage(confidence, bools(1, 1, 0, 0)) == pytest.approx((0 + 1 / 2 + 2 / 3 + 1 / 2) / 4)


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_ties_are_the_expectation_over_every_order(rows: list[tuple[int, bool]]) -> None:
    areas = []
    for order in permutations(rows):
        wrong = [not label for _, label in sorted(order, key=lambda row: -row[0])]  # a stable sort keeps ties in order
        areas.append(sum(sum(wrong[:k]) / k for k in range(1, len(wrong) + 1)) / len(wrong))
    confidence, correct = torch.tensor([float(score) for score, _ in rows]), torch.tensor([label for _, label in rows])
    assert area_under_risk_coverage(confidence, correct) == pytest.approx(sum(areas) / len(areas), abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(rows=scored_rows(), data=st.data())
def test_risk_coverage_does_not_see_row_order(rows: tuple[Tensor, Tensor], data: st.DataObject) -> None:
    confidence, correct = rows
    order = torch.tensor(data.draw(st.permutations(range(len(confidence)))))
    coverage, risk = risk_coverage(confidence, correct)
    _, shuffled_risk = risk_coverage(confidence[order], correct[order])
    assert torch.equal(risk, shuffled_risk)
    assert coverage[-1].item() == 1
    assert risk[-1].item() == pytest.approx((~correct).double().mean().item())


def test_errors_name_what_is_wrong() -> None:
    score = torch.tensor([0.5, float("nan")])
    for statistic in (auroc, area_under_risk_coverage):
        with pytest.raises(ValueError, match=r"NaN in the rows \[1\]"):
            statistic(score, bools(1, 0))
        with pytest.raises(ValueError, match=r"not \[2\] and torch.bool \[3\]"):
            statistic(score, bools(1, 0, 1))
        with pytest.raises(ValueError, match=r"torch.float32 \[2\]"):
            statistic(score, score)
    with pytest.raises(ValueError, match="at least 1 question, not 0"):
        risk_coverage(score[:0], bools())
