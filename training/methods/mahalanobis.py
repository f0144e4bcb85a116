"""Mahalanobis distance from the training questions of a LoRA run, as an error score (Lee et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from uq4ct.model_store.posteriors.mahalanobis import MEANS, WHITENING, MahalanobisConfig, fit_class_gaussians
from uq4ct.training.methods.base import Finished, Fitting, FittingError, NoOptions, PostHocMethod, one_lora
from uq4ct.training.methods.features import ScoredQuestions, read_features


def _fit(fitting: Fitting, options: NoOptions) -> Finished:
    read = read_features(fitting, fitting.train, "training features")
    try:
        found = fit_class_gaussians(*_classes(read, fitting.model.scorer.features_per_option))
    except ValueError as error:
        raise FittingError(
            f"mahalanobis cannot be fitted on {len(fitting.train)} training questions: {error}"
        ) from error
    tensors = {MEANS: found.means, WHITENING: found.whitening}
    return Finished(MahalanobisConfig(shrinkage=found.shrinkage), dict(fitting.weights[0]) | tensors)


def _classes(read: ScoredQuestions, per_option: bool) -> tuple[Tensor, Tensor]:
    """Return features [n, d] and their classes [n]: right or wrong for each option, or each question's right index."""
    if not per_option:
        return read.features[:, 0], read.answers
    places = torch.arange(read.logits.shape[1])
    present = places < read.options.unsqueeze(1)
    return read.features[present], (places == read.answers.unsqueeze(1))[present].long()


MAHALANOBIS = PostHocMethod(options=NoOptions, needs=one_lora, fit=_fit)
