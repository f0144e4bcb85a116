from __future__ import annotations

import pytest

from uq4ct.model_store.decisions import Abstention, ConformalSets, Decision, Decisions, decide

NOTHING = Decisions(sets=None, abstention=None, tested=None)
SETS = ConformalSets(score="lac", coverage=0.5, max_set_size=2, questions=5, scores=(0.125, 0.25, 0.5, 0.75, 0.875))
ABSTENTION = Abstention(
    target="risk",
    value=0.1,
    guarantee=0.95,
    threshold=0.5,
    questions=5,
    risk=0.0,
    risk_bound=0.1,
    coverage=0.5,
    coverage_bound=0.25,
)
FITTED = Decisions(sets=SETS, abstention=ABSTENTION, tested=None)
P = (0.25, 0.5, 0.125, 0.125)


def test_where_nothing_was_fitted_everything_is_answered() -> None:
    assert decide(P, NOTHING) == Decision(False, None, None, None, None)
    assert decide(P, NOTHING, coverage=0.9) == Decision(False, None, None, None, None)


def test_a_request_brings_its_own_threshold() -> None:
    assert decide(P, NOTHING, abstain_below=0.5) == Decision(False, None, 0.5, None, None)
    assert decide(P, NOTHING, abstain_below=0.51) == Decision(True, "below_threshold", 0.51, None, None)
    assert decide((0.25, 0.25, 0.25, 0.25), FITTED, abstain_below=0.0, coverage=0.0).abstain is False


def test_the_stored_decisions_by_hand() -> None:
    # Rank ceil(6 * 0.5) = 3, threshold 0.5: options with 1 - p <= 0.5.
    assert decide(P, FITTED) == Decision(False, None, 0.5, (1,), 0.5)
    # Rank ceil(6 * 0.6) = 4, threshold 0.75.
    assert decide(P, FITTED, coverage=0.6) == Decision(False, None, 0.5, (0, 1), 0.6)
    # Rank 5, threshold 0.875: all four, more than two.
    assert decide(P, FITTED, coverage=0.8) == Decision(True, "set_too_large", 0.5, (0, 1, 2, 3), 0.8)
    # Rank ceil(6 * 0.9) = 6 of 5: the full set.
    assert decide((1.0, 0.0), FITTED, coverage=0.9) == Decision(False, None, 0.5, (0, 1), 0.9)


def test_too_little_confidence_is_named_before_too_large_a_set() -> None:
    assert decide((0.25, 0.25, 0.25, 0.25), FITTED, coverage=0.9).reason == "below_threshold"


def test_scores_out_of_order_are_no_conformal_scores() -> None:
    with pytest.raises(ValueError, match="ascending"):
        ConformalSets(score="lac", coverage=0.5, max_set_size=None, questions=2, scores=(0.5, 0.25))


@pytest.mark.parametrize(
    ("questions", "kept", "needed"), [(3, 2, 3), (2, 3, 2), (5000, 1999, 2000), (5000, 5000, 2000)]
)
def test_the_number_of_scores_is_that_of_the_questions_up_to_a_limit(questions: int, kept: int, needed: int) -> None:
    scores = tuple(index / kept for index in range(kept))
    with pytest.raises(ValueError, match=f"{needed}"):
        ConformalSets(score="lac", coverage=0.5, max_set_size=None, questions=questions, scores=scores)
