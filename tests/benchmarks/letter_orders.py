"""What asking in every order of the options does to a run with letters: python -m tests.benchmarks.letter_orders RUN

A model may prefer a letter whatever its option says. The fit and test questions of the run are asked once for each
rotation of their options. Compared are the answers as asked, the mean over all rotations (what averaging out the order
costs: an answer for each option), and the answers as asked without the letters' prior, which is estimated from the
rotations of a few questions (PriDe: Zheng et al. 2024). Questions without four options are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.uncertainty.resampling import bootstrap_mean
from uq4ct.training.evaluation.calibration_fitting import fit_calibration
from uq4ct.training.evaluation.sampling import sample_split
from uq4ct.training.evaluation.scores import VALUES, ScoredAnswers, answers_of, compute_scores, score_answers
from uq4ct.training.model_process import prepare_process
from uq4ct.training.run_config import CalibrationName
from uq4ct.training.runs.load import load_run, load_run_splits

OPTIONS = 4
PRIOR_QUESTIONS = 20  # that are asked in every order to estimate the letters' prior
CALIBRATIONS: tuple[CalibrationName, ...] = ("none", "temperature")


@dataclass(frozen=True, slots=True)
class Rotations:
    """Questions and the log probabilities of their letters in each rotation, [rotation, question, letter].

    In rotation r, the letter j has the option (j + r) mod 4.
    """

    questions: list[Question]
    letters: Tensor

    @property
    def as_asked(self) -> Tensor:
        """The log probabilities of the options in the given order, [B, C]."""
        return self.letters[0]

    @property
    def averaged(self) -> Tensor:
        """The log of the options' mean probabilities over all rotations, [B, C]."""
        options = torch.stack([one.roll(shift, dims=-1) for shift, one in enumerate(self.letters)])
        return options.logsumexp(dim=0) - torch.tensor(float(len(options))).log()

    def letter_prior(self, questions: int) -> Tensor:
        """The log of the mean letter prior of the first questions, [C]: their options cancel out over the rotations."""
        each = self.letters[:, :questions].mean(dim=0).softmax(dim=-1)
        return each.mean(dim=0).log()


def rotate(question: Question, shift: int) -> Question:
    """Move each option `shift` letters towards the first one."""
    options = question.options[shift:] + question.options[:shift]
    answer = None if question.answer is None else (question.answer - shift) % len(options)
    return replace(question, options=options, answer=answer)


def ask_rotations(predictor: Predictor, questions: Sequence[Question], batch_tokens: int, title: str) -> Rotations:
    """Ask every question with four options once for each rotation."""
    console = Console(file=sys.stderr)
    asked = [question for question in questions if len(question.options) == OPTIONS]
    letters = [
        sample_split(predictor, [rotate(one, shift) for one in asked], batch_tokens, console, f"{title}, order {shift}")
        for shift in range(OPTIONS)
    ]
    probabilities = [samples.logits.double().softmax(dim=-1).mean(dim=0) for samples in letters]
    return Rotations(asked, torch.stack(probabilities).log())


def main() -> None:
    """Print the scores of each way of asking, and their differences in NLL from the answers as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run with letter scoring")
    prepare_process()
    run = load_run(parser.parse_args().run)
    splits, predictor = load_run_splits(run), run.predictor()
    fit, test = (
        ask_rotations(predictor, questions, run.config.training.evaluation_batch_tokens, name)
        for name, questions in (("fit", splits.fit), ("test", splits.test))
    )
    prior = fit.letter_prior(PRIOR_QUESTIONS)
    print(f"{len(test.questions)} test questions; letter prior {' '.join(f'{p:.3f}' for p in prior.exp().tolist())}\n")
    ways = {
        "as asked": (fit.as_asked, test.as_asked),
        f"mean over {OPTIONS} orders": (fit.averaged, test.averaged),
        f"without the prior of {PRIOR_QUESTIONS} questions": (fit.as_asked - prior, test.as_asked - prior),
    }
    print("| way | calibration | accuracy | ECE (floor, p95) | NLL | Brier | NLL minus as asked |")
    print("|---|---|---|---|---|---|---|")
    plain: dict[str, Tensor] = {}
    for way, (fitted_on, asked) in ways.items():
        for name in CALIBRATIONS:
            calibration = fit_calibration(name, _samples(fitted_on), fit.questions)
            scored = score_answers(answers_of(_samples(asked), test.questions, calibration), test.questions)
            beside = plain.setdefault(name, VALUES["nll"](scored))
            print(f"| {way} | {name} | {_cells(scored, beside)} |")


def _cells(scored: ScoredAnswers, beside: Tensor) -> str:
    """Return a row's scores, and how its NLL differs from that of each question in `beside`."""
    scores, difference = compute_scores(scored), VALUES["nll"](scored) - beside
    interval = bootstrap_mean(difference)
    return (
        f"{scores.accuracy:.3f} | {scores.ece:.3f} ({scores.ece_noise_floor:.3f}, {scores.ece_noise_floor_p95:.3f}) | "
        f"{scores.nll:.3f} [{scores.nll_interval.low:.3f}, {scores.nll_interval.high:.3f}] | {scores.brier:.3f} | "
        f"{difference.mean():+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
    )


def _samples(logits: Tensor) -> CandidateSamples:
    return CandidateSamples(logits.unsqueeze(0), None, None)


if __name__ == "__main__":
    main()
