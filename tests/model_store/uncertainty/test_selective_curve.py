from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.uncertainty.ranking import risk_coverage
from uq4ct.model_store.uncertainty.selective_curve import THRESHOLDS, selective_curve


def test_four_questions_by_hand() -> None:
    confidence = torch.tensor([0.3, 0.55, 0.55, 1.0], dtype=torch.float64)
    curve = selective_curve(confidence, torch.tensor([False, True, False, True]))
    at = {threshold: pair for threshold, *pair in zip(THRESHOLDS, curve.answered, curve.wrong, strict=True)}
    assert at[0.0] == at[0.3] == [4, 2]
    assert at[0.31] == at[0.55] == [3, 1]
    assert at[0.56] == at[1.0] == [1, 0]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_it_meets_the_risk_coverage_curve_at_its_coverages(rows: list[tuple[float, bool]]) -> None:
    confidence = torch.tensor([p for p, _ in rows], dtype=torch.float64)
    correct = torch.tensor([right for _, right in rows])
    coverage, risk = risk_coverage(confidence, correct)
    curve = selective_curve(confidence, correct)
    for answered, wrong in zip(curve.answered, curve.wrong, strict=True):
        if answered:
            assert coverage[answered - 1] * len(rows) == pytest.approx(answered)
            assert risk[answered - 1] * answered == pytest.approx(wrong)
    assert (curve.answered[0], curve.wrong[0]) == (len(rows), len(rows) - int(correct.sum()))


def test_parts_add_up() -> None:
    generator = torch.Generator().manual_seed(2)
    confidence = torch.rand(500, generator=generator)
    correct = torch.rand(500, generator=generator) < confidence
    parts = [selective_curve(confidence[part], correct[part]) for part in (slice(0, 123), slice(123, 500))]
    whole = selective_curve(confidence, correct)
    assert whole.answered == tuple(map(sum, zip(*(part.answered for part in parts), strict=True)))
    assert whole.wrong == tuple(map(sum, zip(*(part.wrong for part in parts), strict=True)))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"correct bool \[B\], not \[2\] and torch.bool \[3\]"):
        selective_curve(torch.rand(2), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="correct bool"):
        selective_curve(torch.rand(2), torch.ones(2))
    with pytest.raises(ValueError, match=r"NaN in the rows \[1\]"):
        selective_curve(torch.tensor([0.5, float("nan")]), torch.ones(2, dtype=torch.bool))
