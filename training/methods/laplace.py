"""Laplace-LoRA on a LoRA run: curvature of the training questions, prior precision by evidence or fit split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, FiniteFloat
from torch import Tensor

from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors.draws import bank_places
from uq4ct.model_store.posteriors.kronecker import KroneckerFactors
from uq4ct.model_store.posteriors.laplace import LaplaceConfig, antithetic_noise, draw_logits, linearise
from uq4ct.model_store.predictor import batches_by_length
from uq4ct.model_store.token_batch import collate
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.training.console import count_up, say
from uq4ct.training.methods.base import Finished, Fitting, PostHocMethod, one_lora
from uq4ct.training.methods.evidence import HIGHEST, LOWEST, best_precision
from uq4ct.training.methods.kronecker_fitting import fit_curvature

PRECISIONS = tuple(10 ** (step / 4) for step in range(-8, 25))  # from 0.01 to a million, compared on the fit split


class LaplaceOptions(Frozen):
    """An answer costs one forward pass and one backward pass per candidate, whatever the number of samples."""

    samples: int = Field(default=1000, ge=2, le=100_000, multiple_of=2, description="S, draws of the logits; even")
    factor_rank: int = Field(default=10, ge=1, description="eigenvectors kept of the inputs of A and the outputs of B")
    prior_precision: Literal["marglik", "fit_nll"] | Annotated[FiniteFloat, Field(gt=0)] = Field(
        default="marglik",
        description="marglik = largest marginal likelihood, fit_nll = lowest NLL on the fit split, or a number",
    )


def _fit(fitting: Fitting, options: LaplaceOptions) -> Finished:
    weights = fitting.weights[0]
    with count_up(fitting.console, "curvature", len(fitting.train)) as advance:
        factors = fit_curvature(
            fitting.model,
            fitting.train,
            options.factor_rank,
            fitting.batch_tokens,
            fitting.seed,
            advance,
        )
    precision = _prior_precision(fitting, options, factors)
    say(fitting.console, f"prior precision {precision:.4g}{end_of_search(options.prior_precision, precision)}")
    posterior = LaplaceConfig(
        samples=options.samples,
        prior_precision=precision,
        options=max(question.encoded.options for question in fitting.train),
        seed=fitting.seed,
    )
    stored = [one.stored(name) for name, one in factors.items()]
    return Finished(posterior, {**weights, **{name: tensor for one in stored for name, tensor in one.items()}})


def _prior_precision(fitting: Fitting, options: LaplaceOptions, factors: Mapping[str, KroneckerFactors]) -> float:
    if options.prior_precision == "marglik":
        return precision_by_evidence(fitting.weights[0], factors)
    if options.prior_precision == "fit_nll":
        noise = antithetic_noise(options.samples, fitting.seed)
        nll = torch.stack([_nll(fitting, chosen, factors, noise) for chosen in _batches(fitting)]).sum(dim=0)
        return PRECISIONS[int(nll.argmin())]
    return options.prior_precision


def end_of_search(chosen_by: str | float, precision: float) -> str:
    """Return a warning to append if the search for the precision ended at an end of its range."""
    ranges = {"marglik": (LOWEST, HIGHEST), "fit_nll": (PRECISIONS[0], PRECISIONS[-1])}
    if not isinstance(chosen_by, str):
        return ""
    low, high = ranges[chosen_by]
    if low * 1.001 < precision < high * 0.999:
        return ""
    return f": warning: at an end of the search from {low:g} to {high:g}; options.prior_precision takes a number"


def precision_by_evidence(weights: Mapping[str, Tensor], factors: Mapping[str, KroneckerFactors]) -> float:
    """Return the prior precision of largest evidence; only the weights of the expert banks are parameters."""
    banks = [weights[f"{place}.{weight}"] for place in bank_places(weights) for weight in ("A", "B")]
    squared_norm = sum(weight.double().square().sum().item() for weight in banks)
    eigenvalues = torch.cat([one.curvature.flatten() for one in factors.values()])
    return best_precision(eigenvalues, squared_norm)


def _batches(fitting: Fitting) -> list[list[int]]:
    return list(batches_by_length([question.encoded for question in fitting.fit], fitting.batch_tokens))


def _nll(fitting: Fitting, chosen: list[int], factors: Mapping[str, KroneckerFactors], noise: Tensor) -> Tensor:
    """Return the summed NLL of one batch of the fit split under each prior precision, as in serving: nats [G]."""
    batch = collate([fitting.fit[index].encoded for index in chosen])
    answers = torch.tensor([[fitting.fit[index].answer] for index in chosen])
    predictive = linearise(fitting.model, batch, factors, PRECISIONS)
    draws = (draw_logits(predictive.logits, covariance, noise).cpu() for covariance in predictive.covariances)
    return torch.stack([-mean_probabilities(logits).gather(1, answers).log().sum() for logits in draws])


LAPLACE = PostHocMethod(options=LaplaceOptions, needs=one_lora, fit=_fit)
