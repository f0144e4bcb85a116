"""Stored weights -> S sets of candidate logits; one file a posterior."""

from model_store.posteriors.config import PosteriorConfig
from model_store.posteriors.point import PointPosterior
from model_store.posteriors.samples import CandidateSamples, Posterior

__all__ = ["CandidateSamples", "Posterior", "build_posterior"]

_KINDS = {"point": PointPosterior}


def build_posterior(config: PosteriorConfig) -> Posterior:
    """The posterior of a configuration."""
    return _KINDS[config.kind]()
