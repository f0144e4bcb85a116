"""Properties that the posteriors with an error score share; the scores are tested per posterior."""

from __future__ import annotations

import pytest
import torch

from uq4ct.model_store.posteriors.adue import HEAD, AdueConfig
from uq4ct.model_store.posteriors.mahalanobis import MEANS, WHITENING, MahalanobisConfig
from uq4ct.model_store.posteriors.point import PointConfig

ADUE = AdueConfig(sharpness=100, slope=1, intercept=0), {HEAD: torch.zeros(4, 6)}
MAHALANOBIS = MahalanobisConfig(shrinkage=0.1), {MEANS: torch.zeros(3, 6), WHITENING: torch.eye(6)}


@pytest.mark.parametrize(("stored", "numbers"), [(ADUE, 4 * 6), (MAHALANOBIS, 3 * 6 + 6 * 6)])
def test_one_pass_an_error_score_and_the_memory_of_its_tensors(stored, numbers):
    config, tensors = stored
    posterior = config.build(tensors)
    assert posterior.samples == config.samples == config.passes == 1
    assert config.has_error_score
    assert posterior.memory_bytes == 4 * numbers


def test_a_plain_point_has_no_error_score_and_holds_nothing():
    assert not PointConfig().has_error_score
    assert PointConfig().build({}).memory_bytes == 0
