"""Does FEU tell right answers from wrong ones beyond confidence?

    python -m tests.benchmarks.error_models PREDICTIONS [PREDICTIONS ...]

Each file has the predictions of one run on the same questions, as `uq4ct evaluate` and studies write them. Logistic
models of whether an answer is right, from its confidence, its FEU, or both, are fitted on four fifths of the questions
and judged on the rest, in turn. The runs are pooled, and a question is in the same fifth for all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.ranking import auroc
from uq4ct.model_store.uncertainty.resampling import bootstrap_mean
from uq4ct.training.evaluation.predictions import read_predictions
from uq4ct.training.evaluation.scores import ScoredAnswers, score_answers

FOLDS = 5
_NEWTON_STEPS = 50
_RIDGE = 1e-3  # on standardised columns: keeps separable data finite
_EDGE = 1e-6


def fit_logistic(columns: Tensor, right: Tensor) -> Tensor:
    """Return the weights [n + 1] of a logistic model, the last of them constant, by Newton's method.

    `columns` [B, n], `right` bool [B].
    """
    inputs, target = _with_constant(columns), right.double()
    ridge = _RIDGE * torch.eye(inputs.shape[1], dtype=torch.float64)
    weights = torch.zeros(inputs.shape[1], dtype=torch.float64)
    for _ in range(_NEWTON_STEPS):
        probability = (inputs @ weights).sigmoid()
        slope = inputs.T @ (target - probability) - ridge @ weights
        curvature = (inputs * (probability * (1 - probability)).unsqueeze(1)).T @ inputs + ridge
        weights = weights + torch.linalg.solve(curvature, slope)
    return weights


def cross_fitted(columns: Tensor, right: Tensor, fold: Tensor) -> Tensor:
    """Return each answer's probability of being right [B] by the model that was fitted on the other folds [B]."""
    found = torch.empty(len(right), dtype=torch.float64)
    for number in range(FOLDS):
        own = fold == number
        mean, deviation = columns[~own].mean(dim=0), columns[~own].std(dim=0)
        weights = fit_logistic((columns[~own] - mean) / deviation, right[~own])
        found[own] = (_with_constant((columns[own] - mean) / deviation) @ weights).sigmoid()
    return found


def error_columns(runs: Sequence[ScoredAnswers]) -> tuple[Mapping[str, Tensor], Tensor, Tensor]:
    """Return the columns of each model, whether answers are right [B], and their folds, of all runs in turn."""
    confidence = torch.cat([run.confidence for run in runs])
    feu = torch.cat([run.feu for run in runs if run.feu is not None])
    logit = confidence.clamp(_EDGE, 1 - _EDGE).logit()
    order = torch.randperm(len(runs[0].correct), generator=torch.Generator().manual_seed(0))
    fold = (order % FOLDS).repeat(len(runs))
    models = {
        "confidence": logit.unsqueeze(1),
        "FEU": feu.unsqueeze(1),
        "both": torch.stack([logit, feu], dim=1),
    }
    return models, torch.cat([run.correct for run in runs]), fold


def main() -> None:
    """Print the held-out NLL and AUROC of each model, and the differences from confidence alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path, nargs="+")
    files = [read_predictions(path) for path in parser.parse_args().predictions]
    runs = [score_answers(answers, questions) for questions, answers in files]
    if any(run.feu is None for run in runs):
        parser.error("predictions: every run must have FEU, which needs routers")
    models, right, fold = error_columns(runs)
    print(f"{len(files)} runs of {len(right) // len(files)} questions, {right.double().mean():.3f} right")
    print("| model | NLL of right or wrong | minus confidence alone | AUROC |\n|---|---|---|---|")
    plain: Tensor | None = None
    for name, columns in models.items():
        probability = cross_fitted(columns, right, fold)
        nll = -torch.where(right, probability, 1 - probability).log()
        by_question = nll.view(len(files), -1).mean(dim=0)
        plain = by_question if plain is None else plain
        interval = bootstrap_mean(by_question - plain)
        print(
            f"| {name} | {nll.mean():.4f} | {(by_question - plain).mean():+.4f} [{interval.low:+.4f}, "
            f"{interval.high:+.4f}] | {auroc(probability, right):.3f} |"
        )


def _with_constant(columns: Tensor) -> Tensor:
    return torch.cat([columns.double(), torch.ones(len(columns), 1, dtype=torch.float64)], dim=1)


if __name__ == "__main__":
    main()
