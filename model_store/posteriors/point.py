"""The posterior of one set of weights: one deterministic pass."""

from __future__ import annotations

from model_store.candidate_model import CandidateModel
from model_store.posteriors.samples import CandidateSamples
from model_store.scoring.encoding import TokenBatch


class PointPosterior:
    """All mass on the stored weights."""

    samples = 1

    def candidate_samples(self, model: CandidateModel, batch: TokenBatch) -> CandidateSamples:
        """The logits of the one set of weights as one sample."""
        output = model(batch)
        return CandidateSamples(output.logits.unsqueeze(0), output.feu)
