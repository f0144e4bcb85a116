"""AdUE: a head on a LoRA run's frozen features, fitted on held-out questions to tell its errors, then recalibrated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors.adue import HEAD, AdueConfig, head_unsureness
from uq4ct.model_store.uncertainty.binary_platt import fit_binary_platt
from uq4ct.model_store.uncertainty.ranking import auroc
from uq4ct.training.methods.base import Finished, Fitting, FittingError, PostHocMethod, one_lora
from uq4ct.training.methods.features import ScoredQuestions, read_features

WARMUP_SHARE = 0.3  # of the one cycle


class AdueOptions(Frozen):
    """The head's loss and its steps; an answer costs one pass."""

    sharpness: float = Field(default=100.0, gt=0, allow_inf_nan=False, description="lambda of the smooth maximum")
    confidence: float = Field(default=0.1, ge=0, description="alpha, pull towards the run's own 1 - confidence")
    anchor: float = Field(default=0.1, ge=0, description="beta, L2-SP: pull towards the run's own head")
    learning_rate: float = Field(default=4e-4, gt=0, description="peak of one cycle of Adam")
    epochs: int = Field(default=50, ge=1, le=1000, description="at most")
    patience: int = Field(
        default=5, ge=1, description="epochs without a better ranking before it ends, once past the peak"
    )
    # The source has 256, which on a split of some hundred questions is one step an epoch.
    batch_questions: int = Field(default=32, ge=1, description="as many right as wrong answers on average")
    head_share: float = Field(
        default=0.6, gt=0, lt=1, description="of the fit split; the rest selects the epoch and recalibrates"
    )


def _fit(fitting: Fitting, options: AdueOptions) -> Finished:
    """The fit split, since errors on trained questions are near none."""
    read = read_features(fitting, fitting.fit, "fit features")
    trained, held_out = (read.rows(part) for part in divide(read.wrong, options.head_share, fitting.seed))
    start = torch.zeros(read.features.shape[1:])
    if fitting.model.scorer.features_per_option:
        start = start[0]
    head = train_head(trained, held_out, start, options, fitting.seed)
    # The head saw as many errors as right answers, so its own level is not that of the questions.
    platt = fit_binary_platt(_unsureness(head, held_out, options), held_out.wrong)
    posterior = AdueConfig(sharpness=options.sharpness, slope=platt.slope, intercept=platt.intercept)
    return Finished(posterior, dict(fitting.weights[0]) | {HEAD: head})


def divide(wrong: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Two parts of the rows of `wrong` bool [n], by a hash of seed and place; each has its share of the errors.

    Raises:
        FittingError: there are not two errors and two right answers, so a part would lack a kind.
    """
    first: list[int] = []
    second: list[int] = []
    for kind, name in ((wrong, "wrong"), (~wrong, "right")):
        rows = sorted(kind.nonzero().flatten().tolist(), key=lambda row: _digest(seed, row))
        if len(rows) < 2:
            raise FittingError(
                f"adue needs 2 {name} answers at least, and the fit split of {len(wrong)} has {len(rows)}"
            )
        cut = min(max(round(share * len(rows)), 1), len(rows) - 1)
        first += rows[:cut]
        second += rows[cut:]
    return torch.tensor(sorted(first)), torch.tensor(sorted(second))


def _digest(seed: int, row: int) -> bytes:
    return hashlib.sha256(f"{seed}/{row}".encode()).digest()


def train_head(
    trained: ScoredQuestions, held_out: ScoredQuestions, start: Tensor, options: AdueOptions, seed: int
) -> Tensor:
    """What to add to the head, of the shape of `start` [C, d] or [d], which is 0: the run's own head.

    The epoch is the one whose U ranks the held-out errors best, the untouched head being the first.
    """
    generator = torch.Generator().manual_seed(seed)
    head = start.clone().requires_grad_()
    steps = -(-len(trained.answers) // options.batch_questions)
    optimizer = Adam([head], lr=options.learning_rate)
    schedule = OneCycleLR(optimizer, options.learning_rate, total_steps=options.epochs * steps, pct_start=WARMUP_SHARE)
    best, best_score, waited = start, _ranking(start, held_out, options), 0
    for epoch in range(options.epochs):
        for rows in _balanced(trained.wrong, steps, options.batch_questions, generator):
            optimizer.zero_grad()
            head_loss(head, trained.rows(rows), options).backward()
            optimizer.step()
            schedule.step()
        score = _ranking(head, held_out, options)
        # A few hundred questions make so few steps an epoch that the rising rate moves no rank at first.
        waited = 0 if score > best_score or epoch < WARMUP_SHARE * options.epochs else waited + 1
        if score > best_score:
            best, best_score = head.detach().clone(), score
        if waited == options.patience:
            break
    return best


def head_loss(head: Tensor, questions: ScoredQuestions, options: AdueOptions) -> Tensor:
    """BCE(U, error) + alpha mean (U - (1 - max p of the run))^2 + beta |head|^2. Source: AdUE."""
    unsure = _unsureness(head, questions, options)
    own = 1 - questions.logits.double().softmax(dim=-1).amax(dim=-1)
    error = F.binary_cross_entropy(unsure, questions.wrong.double())
    return error + options.confidence * (unsure - own).square().mean() + options.anchor * head.square().sum()


def _balanced(wrong: Tensor, steps: int, batch: int, generator: torch.Generator) -> Sequence[Tensor]:
    """Rows of an epoch's steps, drawn with replacement, an error as likely as a right answer."""
    weights = torch.where(wrong, 1 / wrong.sum(), 1 / (~wrong).sum())
    return torch.multinomial(weights, steps * batch, replacement=True, generator=generator).split(batch)


def _unsureness(head: Tensor, questions: ScoredQuestions, options: AdueOptions) -> Tensor:
    return head_unsureness(head, questions.logits, questions.features, questions.options, options.sharpness)


@torch.no_grad()
def _ranking(head: Tensor, questions: ScoredQuestions, options: AdueOptions) -> float:
    """AUROC of the errors; `divide` leaves both kinds."""
    return auroc(_unsureness(head, questions, options), questions.wrong) or 0.0


ADUE = PostHocMethod(options=AdueOptions, needs=one_lora, fit=_fit)
