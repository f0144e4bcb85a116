"""What a calibration costs that is fitted on few labels: `python -m tests.simulations.few_labels` prints the table.

A world draws questions with known probabilities of their options, and a model that knows them, or is over- or
underconfident about them. A calibration is fitted on n answers drawn from the known probabilities; its expected NLL
on new questions is computed from these probabilities without drawing answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.feu_temperature import fit_feu_temperature
from uq4ct.model_store.uncertainty.isotonic import fit_isotonic
from uq4ct.model_store.uncertainty.platt import fit_platt
from uq4ct.model_store.uncertainty.temperature import fit_temperature

SEED = 20
LABELS = (10, 20, 30, 50, 100, 300)
POPULATION = 20_000
TESTED = 2_000
SPREAD = 0.5  # of the samples' logits around their mean


@dataclass(frozen=True, slots=True)
class World:
    """A model of this accuracy whose logits are `sharpness` times those of the true probabilities.

    With `by_feu`, the sharpness is the geometric mean, and falls with FEU: where the routers are sure, less is wrong.
    """

    name: str
    accuracy: float
    options: int = 4
    sharpness: float = 1.0
    samples: int = 1
    by_feu: float = 0.0


CALIBRATED = tuple(
    World(f"calibrated, accuracy {accuracy}, {options} options, S = {samples}", accuracy, options, 1.0, samples)
    for samples in (1, 5)
    for options in (4, 2)
    for accuracy in (0.6, 0.8, 0.92, 0.98)
)
MISCALIBRATED = tuple(
    World(f"T = {sharpness:g}, accuracy {accuracy}, S = {samples}", accuracy, 4, sharpness, samples)
    for samples in (1, 5)
    for sharpness in (2.0, 4.0, 0.6)
    for accuracy in (0.6, 0.92)
)
BY_FEU = World("T by FEU, accuracy 0.8", 0.8, 4, 2.0, 1, 5.0)
WORLDS = (*CALIBRATED, *MISCALIBRATED, BY_FEU)


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Logits [S, B, C] of the model, FEU [B], and the true probabilities [B, C]."""

    logits: Tensor
    feu: Tensor
    truth: Tensor

    def rows(self, index: Tensor) -> Questions:
        """Return some of the questions."""
        return Questions(self.logits[:, index], self.feu[index], self.truth[index])


Map = Callable[[Questions], Tensor]


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted calibration: its map to probabilities, and whether it is at a bound."""

    apply: Map
    at_bound: bool


def draw_questions(world: World, count: int, generator: torch.Generator) -> Questions:
    """Draw questions with the logits of a normal distribution whose scale gives the accuracy."""
    noise = torch.randn(count, world.options, generator=generator, dtype=torch.float64)
    spread = SPREAD if world.samples > 1 else 0.0
    around = spread * torch.randn(world.samples, count, world.options, generator=generator, dtype=torch.float64)
    scale = _scale_of(world.accuracy, noise, around)
    logits = scale * noise + around
    feu = 0.3 + 0.3 * torch.rand(count, generator=generator, dtype=torch.float64)
    sharpness = world.sharpness * torch.exp(-world.by_feu * (feu - 0.45))
    return Questions(logits * sharpness[:, None], feu, logits.softmax(dim=-1).mean(dim=0))


def _scale_of(accuracy: float, noise: Tensor, around: Tensor) -> float:
    low, high = 0.0, 200.0
    for _ in range(40):
        middle = (low + high) / 2
        reached = (middle * noise + around).softmax(dim=-1).mean(dim=0).amax(dim=-1).mean().item()
        low, high = (middle, high) if reached < accuracy else (low, middle)
    return low


def _temperature(questions: Questions, answers: Tensor, prior: float) -> Fit:
    found = fit_temperature(questions.logits, answers, prior)
    return Fit(lambda other: mean_probabilities(other.logits, found.value), found.at_bound)


def _platt(questions: Questions, answers: Tensor, prior: float) -> Fit:
    found = fit_platt(mean_probabilities(questions.logits), answers, prior)
    return Fit(lambda other: found.apply(mean_probabilities(other.logits)), found.at_bound)


def _isotonic(questions: Questions, answers: Tensor, prior: float) -> Fit:
    found = fit_isotonic(mean_probabilities(questions.logits), answers, prior)
    return Fit(lambda other: found.apply(mean_probabilities(other.logits)), at_bound=False)


def _feu_temperature(questions: Questions, answers: Tensor, prior: float) -> Fit:
    found = fit_feu_temperature(questions.logits, questions.feu, answers, prior)
    return Fit(
        lambda other: found.divide(other.logits, other.feu).softmax(dim=-1).mean(dim=0),
        found.at_bound(questions.logits, questions.feu),
    )


FITS: dict[str, Callable[[Questions, Tensor, float], Fit]] = {
    "temperature": _temperature,
    "platt": _platt,
    "isotonic": _isotonic,
    "feu_temperature": _feu_temperature,
}


def expected_nll(probabilities: Tensor, truth: Tensor) -> float:
    """Return the expected NLL in nats of answers drawn from `truth` [B, C]."""
    logs = probabilities.clamp(min=torch.finfo(torch.float64).tiny).log()
    return -(truth * logs).sum(dim=-1).mean().item()


@dataclass(frozen=True, slots=True)
class Cost:
    """Mean over repetitions: expected NLL after minus before the calibration in nats, and the share at a bound."""

    nats: float
    at_bound: float


def cost_of(calibration: str, world: World, labels: int, repetitions: int, prior: float, seed: int = SEED) -> Cost:
    """Fit the calibration on `labels` answers, `repetitions` times; every prior sees the same answers."""
    generator = torch.Generator().manual_seed(seed)
    population = draw_questions(world, POPULATION, generator)
    test = population.rows(torch.arange(TESTED))
    before = expected_nll(mean_probabilities(test.logits), test.truth)
    nats, bounds = [], []
    for _ in range(repetitions):
        drawn = population.rows(torch.randint(TESTED, POPULATION, (labels,), generator=generator))
        answers = torch.multinomial(drawn.truth, 1, generator=generator).squeeze(1)
        fit = FITS[calibration](drawn, answers, prior)
        nats.append(expected_nll(fit.apply(test), test.truth) - before)
        bounds.append(float(fit.at_bound))
    return Cost(fmean(nats), fmean(bounds))
