"""AdUE: a head on a LoRA run's frozen features, fitted on held-out questions to predict errors, then recalibrated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from rich.console import Console
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors.adue import HEAD, AdueConfig, head_unsureness
from uq4ct.model_store.uncertainty.binary_platt import fit_binary_platt
from uq4ct.model_store.uncertainty.ranking import auroc
from uq4ct.model_store.uncertainty.soft_targets import FEWEST_QUESTIONS
from uq4ct.training.console import say
from uq4ct.training.methods.base import Finished, Fitting, FittingError, PostHocMethod, one_lora
from uq4ct.training.methods.features import ScoredQuestions, read_features

WARMUP_SHARE = 0.3  # share of the learning rate cycle


class AdueOptions(Frozen):
    """The loss and the training of the head; an answer costs one pass."""

    sharpness: float = Field(default=100.0, gt=0, allow_inf_nan=False, description="lambda of the smooth maximum")
    confidence: float = Field(default=0.1, ge=0, description="alpha, pull towards the run's own 1 - confidence")
    anchor: float = Field(default=0.1, ge=0, description="beta, L2-SP: pull towards the run's own head")
    learning_rate: float = Field(default=4e-4, gt=0, description="peak of one cycle of Adam")
    epochs: int = Field(default=50, ge=1, le=1000, description="largest number of epochs")
    patience: int = Field(
        default=5, ge=1, description="epochs without a better ranking after the peak, before training stops"
    )
    # The source uses 256, which is one step per epoch on a split of a few hundred questions.
    batch_questions: int = Field(
        default=32, ge=1, description="questions per step, on average half of them answered wrong"
    )
    head_share: float = Field(
        default=0.6,
        gt=0,
        lt=1,
        description="share of the fit split to train on; the rest selects the epoch and recalibrates",
    )


def _fit(fitting: Fitting, options: AdueOptions) -> Finished:
    """Fit on the fit split, because there are hardly any errors on trained questions."""
    read = read_features(fitting, fitting.fit, "fit features")
    trained, held_out = (read.rows(part) for part in divide(read.wrong, options.head_share, fitting.seed))
    start = torch.zeros(read.features.shape[1:])
    if fitting.model.scorer.features_per_option:
        start = start[0]
    head = train_head(trained, held_out, start, options, fitting.seed)
    # The head was trained on as many errors as right answers, so its average is not the error rate of the questions.
    platt = fit_binary_platt(_unsureness(head, held_out, options), held_out.wrong)
    warn_if_few(len(held_out.wrong), fitting.console)
    posterior = AdueConfig(sharpness=options.sharpness, slope=platt.slope, intercept=platt.intercept)
    return Finished(posterior, dict(fitting.weights[0]) | {HEAD: head})


def warn_if_few(questions: int, console: Console) -> None:
    """Print one line if the probabilities of the error score are fitted on too few questions."""
    if questions < FEWEST_QUESTIONS:
        say(
            console,
            f"warning: the probabilities of the error score are fitted on {questions} questions, fewer than "
            f"{FEWEST_QUESTIONS}",
        )


def divide(wrong: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Divide the rows of `wrong` bool [n] in two by a hash of seed and index; each part has its share of the errors.

    Raises:
        FittingError: there are fewer than two errors or two right answers, so a part would lack one kind.
    """
    first: list[int] = []
    second: list[int] = []
    for kind, name in ((wrong, "wrong"), (~wrong, "right")):
        rows = sorted(kind.nonzero().flatten().tolist(), key=lambda row: _digest(seed, row))
        if len(rows) < 2:
            raise FittingError(
                f"adue needs at least 2 {name} answers; the fit split of {len(wrong)} questions has {len(rows)}"
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
    """Return what to add to the run's own head, in the shape of `start` [C, d] or [d], which is 0.

    The result is that of the epoch whose U ranks the held-out errors best, with the unchanged head as the first epoch.
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
        # With a few hundred questions, an epoch has so few steps that the warm-up changes no rank at first.
        waited = 0 if score > best_score or epoch < WARMUP_SHARE * options.epochs else waited + 1
        if score > best_score:
            best, best_score = head.detach().clone(), score
        if waited == options.patience:
            break
    return best


def head_loss(head: Tensor, questions: ScoredQuestions, options: AdueOptions) -> Tensor:
    """Return BCE(U, error) + alpha mean (U - (1 - max p of the run))^2 + beta |head|^2. Source: AdUE."""
    unsure = _unsureness(head, questions, options)
    own = 1 - questions.logits.double().softmax(dim=-1).amax(dim=-1)
    error = F.binary_cross_entropy(unsure, questions.wrong.double())
    return error + options.confidence * (unsure - own).square().mean() + options.anchor * head.square().sum()


def _balanced(wrong: Tensor, steps: int, batch: int, generator: torch.Generator) -> Sequence[Tensor]:
    """Draw the rows of an epoch's steps with replacement, errors as likely as right answers."""
    weights = torch.where(wrong, 1 / wrong.sum(), 1 / (~wrong).sum())
    return torch.multinomial(weights, steps * batch, replacement=True, generator=generator).split(batch)


def _unsureness(head: Tensor, questions: ScoredQuestions, options: AdueOptions) -> Tensor:
    return head_unsureness(head, questions.logits, questions.features, questions.options, options.sharpness)


@torch.no_grad()
def _ranking(head: Tensor, questions: ScoredQuestions, options: AdueOptions) -> float:
    """Return the AUROC of the errors; `divide` ensures that both kinds are present."""
    return auroc(_unsureness(head, questions, options), questions.wrong) or 0.0


ADUE = PostHocMethod(options=AdueOptions, needs=one_lora, fit=_fit)
