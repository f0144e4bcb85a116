"""What a calibration costs on few labels, by simulation: little where the model is calibrated; nothing lost on many."""

from __future__ import annotations

import pytest
import torch

from tests.simulations.few_labels import CALIBRATED, FITS, MISCALIBRATED, cost_of, prior_of
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.temperature import fit_temperature

MOST_NATS = 0.02  # that a calibration may cost on ten labels
MOST_LOST = 0.002  # that the prior may cost on 300, against the fit without it


@pytest.mark.slow
@pytest.mark.parametrize("calibration", FITS)
def test_ten_labels_cost_little(calibration: str) -> None:
    """Mean expected NLL after minus before; seed 20, 20 fits for each world."""
    prior = prior_of(calibration)
    costs = {world.name: cost_of(calibration, world, 10, 20, prior).nats for world in (*CALIBRATED, *MISCALIBRATED)}
    assert {name: nats for name, nats in costs.items() if nats > MOST_NATS} == {}


@pytest.mark.slow
@pytest.mark.parametrize("calibration", FITS)
def test_three_hundred_labels_do_not_feel_the_prior(calibration: str) -> None:
    """The same 300 answers with and without the prior; seed 20, 4 fits for each world."""
    prior = prior_of(calibration)
    lost = {
        world.name: cost_of(calibration, world, 300, 4, prior).nats - cost_of(calibration, world, 300, 4, 0).nats
        for world in MISCALIBRATED
    }
    assert {name: nats for name, nats in lost.items() if nats > MOST_LOST} == {}


def test_a_calibrated_model_that_answers_24_questions_right_stays_sane() -> None:
    """Without the prior the temperature ends at 0.05, and the NLL of a model of accuracy 0.92 rises by nats."""
    source = torch.Generator().manual_seed(3)
    logits = 6 * torch.randn(1, 4_000, 4, generator=source, dtype=torch.float64)
    truth = logits[0].softmax(-1)
    right = logits[:, :24], logits[0, :24].argmax(-1)

    def nll(temperature: float) -> float:
        return -(truth * mean_probabilities(logits, temperature).clamp(min=1e-300).log()).sum(-1).mean().item()

    unshrunk, found = fit_temperature(*right, prior_questions=0), fit_temperature(*right)
    assert unshrunk.at_bound
    assert not found.at_bound
    assert nll(unshrunk.value) > nll(1) + 1
    assert nll(found.value) < nll(1) + 0.05
