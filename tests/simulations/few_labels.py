"""What a calibration costs that is fitted on few labels: `python -m tests.simulations.few_labels` prints the table.

A world draws questions with known probabilities of their options, and a model that knows them, or is over- or
underconfident about them. A calibration is fitted on n answers drawn from the known probabilities; its expected NLL
on new questions is computed from these probabilities without drawing answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import fmean

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty import feu_temperature, isotonic, platt, temperature
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.feu_temperature import fit_feu_temperature
from uq4ct.model_store.uncertainty.isotonic import fit_isotonic
from uq4ct.model_store.uncertainty.platt import fit_platt
from uq4ct.model_store.uncertainty.temperature import fit_temperature

SEED = 20
LABELS = (10, 20, 30, 50, 100, 300)
POPULATION = 10_000
TESTED = 1_000
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


CALIBRATED = (
    *(World(f"accuracy {accuracy}", accuracy) for accuracy in (0.6, 0.8, 0.92, 0.98)),
    *(World(f"accuracy {accuracy}, 2 options", accuracy, options=2) for accuracy in (0.6, 0.8, 0.92, 0.98)),
    *(World(f"accuracy {accuracy}, S = 5", accuracy, samples=5) for accuracy in (0.6, 0.92)),
)
MISCALIBRATED = (
    *(World(f"T = {t:g}, accuracy {a}", a, sharpness=t) for t in (2.0, 4.0, 0.6) for a in (0.6, 0.92)),
    *(World(f"T = {t:g}, accuracy 0.8, S = 5", 0.8, sharpness=t, samples=5) for t in (2.0, 0.6)),
    World("T = 2, accuracy 0.8, 2 options", 0.8, options=2, sharpness=2.0),
    World("T = 2 by FEU, accuracy 0.8", 0.8, sharpness=2.0, by_feu=5.0),
)


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


@cache
def _population(world: World, seed: int) -> Questions:
    return draw_questions(world, POPULATION, torch.Generator().manual_seed(seed))


def cost_of(calibration: str, world: World, labels: int, repetitions: int, prior: float, seed: int = SEED) -> Cost:
    """Fit the calibration on `labels` answers, `repetitions` times; every prior sees the same answers."""
    population = _population(world, seed)
    generator = torch.Generator().manual_seed(seed + 1)
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


def prior_of(calibration: str) -> float:
    """Return the number of questions that a fit counts beside its own."""
    modules = {"temperature": temperature, "platt": platt, "isotonic": isotonic, "feu_temperature": feu_temperature}
    return modules[calibration].PRIOR_QUESTIONS


def print_tables(calibrations: tuple[str, ...], labels: tuple[int, ...], repetitions: int) -> None:
    """Print, for each calibration, its cost in every world without and with the prior, by number of labels."""
    heads = " | ".join(f"n = {count}" for count in labels)
    for calibration in calibrations:
        prior = prior_of(calibration)
        print(
            f"\n**{calibration}**, without → with a prior of {prior:g} questions; in brackets the shares at a bound\n"
        )
        print(f"| world | {heads} |\n|---|{'---|' * len(labels)}")
        for world in (*CALIBRATED, *MISCALIBRATED):
            cells = []
            for count in labels:
                old, new = (cost_of(calibration, world, count, repetitions, m) for m in (0.0, prior))
                cells.append(f"{old.nats:+.3f} ({old.at_bound:.0%}) → {new.nats:+.3f} ({new.at_bound:.0%})")
            print(f"| {world.name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables of LOG.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", action="append", choices=list(FITS), help="default: all")
    parser.add_argument("--labels", action="append", type=int, help=f"default: {', '.join(map(str, LABELS))}")
    parser.add_argument("--repetitions", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print_tables(tuple(arguments.calibration or FITS), tuple(arguments.labels or LABELS), arguments.repetitions)


if __name__ == "__main__":
    main()
