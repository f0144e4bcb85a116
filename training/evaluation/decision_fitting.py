"""Abstention and prediction sets: fitted on the guarantee split, tested on the test split."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError

from uq4ct.model_store.decisions import Abstention, ConformalSets, Decisions, TestedDecisions, decide
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.uncertainty.conformal import ConformalScore, largest_coverage, sketch_scores
from uq4ct.model_store.uncertainty.conformal_fitting import calibration_scores
from uq4ct.model_store.uncertainty.selective import TargetNotMetError, threshold_for_coverage, threshold_for_risk
from uq4ct.training.allowed_values import describe_allowed
from uq4ct.training.evaluation.scores import ScoredAnswers
from uq4ct.training.run_config import ConfigError


class DecisionTargets(Frozen):
    """The targets that the published adapter must meet."""

    set_coverage: float = Field(default=0.9, gt=0, lt=1, description="coverage of the prediction sets")
    set_score: ConformalScore = "lac"
    max_set_size: int | None = Field(default=None, ge=1, description="abstain if the set is larger")
    target: Literal["risk", "coverage"] | None = Field(
        default=None, description="target of abstention; None = never abstain"
    )
    value: float = Field(default=0.1, gt=0, lt=1, description="the targeted risk or coverage")
    guarantee: float = Field(default=0.95, gt=0, lt=1, description="probability with which the target holds")


DEFAULT_TARGETS = DecisionTargets()


def decision_targets(target_risk: float | None, target_coverage: float | None, **others: object) -> DecisionTargets:
    """Return the targets of a publication, with at most one target of abstention.

    Raises:
        ConfigError: both are given, one is given with a largest set size, or a value is out of range.
    """
    if target_risk is not None and target_coverage is not None:
        raise ConfigError(f"--target-risk {target_risk} and --target-coverage {target_coverage}: only one can be set")
    asked = target_coverage if target_risk is None else target_risk
    if asked is not None and others.get("max_set_size") is not None:
        raise ConfigError(
            f"max_set_size {others['max_set_size']} and a target of {asked}: only one of the two can be set, because "
            "the target is tested on answers that abstain for their confidence alone"
        )
    chosen: dict[str, object] = {}
    if target_risk is not None:
        chosen = {"target": "risk", "value": target_risk}
    if target_coverage is not None:
        chosen = {"target": "coverage", "value": target_coverage}
    try:
        return DecisionTargets.model_validate(chosen | others)
    except ValidationError as error:
        options = {"value": f"target_{chosen.get('target')}"}
        wrong = ((str(item["loc"][0]), item["input"]) for item in error.errors())
        raise ConfigError(
            "; ".join(_out_of_range(options.get(field, field), field, got) for field, got in wrong)
        ) from error


def _out_of_range(option: str, field: str, value: object) -> str:
    allowed = describe_allowed(DecisionTargets.model_json_schema()["properties"][field]).removesuffix(" or null")
    return f"--{option.replace('_', '-')}: must be {allowed} (got {value!r})"


class UnmetTargetError(UserError):
    """A target that the guarantee split cannot support; the message names the best target that it can support."""


def fit_decisions(targets: DecisionTargets, guarantee: ScoredAnswers, test: ScoredAnswers) -> Decisions:
    """Fit the decisions on answers to the guarantee split; the test split only measures their effect.

    Raises:
        UnmetTargetError: the guarantee split cannot support a target; the message names the best one that it can.
    """
    try:
        sets, abstention = _fit_sets(targets, guarantee), _fit_abstention(targets, guarantee)
    except TargetNotMetError as error:
        raise UnmetTargetError(str(error)) from error
    decisions = Decisions(sets=sets, abstention=abstention, tested=None)
    return decisions.model_copy(update={"tested": _try(decisions, test)})


def _fit_sets(targets: DecisionTargets, guarantee: ScoredAnswers) -> ConformalSets:
    largest = largest_coverage(len(guarantee.answers))
    if targets.set_coverage > largest:
        raise TargetNotMetError(
            f"prediction sets of coverage {targets.set_coverage} would contain every option: the highest coverage that "
            f"{len(guarantee.answers)} questions of the guarantee split can support is {int(largest * 1000) / 1000}"
        )
    return ConformalSets(
        score=targets.set_score,
        coverage=targets.set_coverage,
        max_set_size=targets.max_set_size,
        questions=len(guarantee.answers),
        scores=sketch_scores(calibration_scores(guarantee.probabilities, guarantee.answers, targets.set_score)),
    )


def _fit_abstention(targets: DecisionTargets, guarantee: ScoredAnswers) -> Abstention | None:
    if targets.target is None:
        return None
    find = threshold_for_risk if targets.target == "risk" else threshold_for_coverage
    found = find(guarantee.confidence, guarantee.correct, targets.value, 1 - targets.guarantee)
    return Abstention(
        target=targets.target,
        value=targets.value,
        guarantee=targets.guarantee,
        threshold=found.threshold,
        questions=len(guarantee.answers),
        risk=found.risk,
        risk_bound=found.risk_bound,
        coverage=found.coverage,
        coverage_bound=found.coverage_bound,
    )


def _try(decisions: Decisions, test: ScoredAnswers) -> TestedDecisions:
    """Apply the decisions to the test split; absent options have probability 0 there and are in no set."""
    rows = zip(test.probabilities.tolist(), test.options.tolist(), test.answers.tolist(), strict=True)
    made = [(decide(row[:count], decisions), right) for row, count, right in rows]
    held = [right in decision.options for decision, right in made if decision.options is not None]
    sizes = [len(decision.options) for decision, _ in made if decision.options is not None]
    answered = [
        bool(correct)
        for (decision, _), correct in zip(made, test.correct.tolist(), strict=True)
        if not decision.abstain
    ]
    return TestedDecisions(
        set_coverage=sum(held) / len(held),
        mean_set_size=sum(sizes) / len(sizes),
        answered=len(answered) / len(made),
        selective_risk=1 - sum(answered) / len(answered) if answered else None,
    )
