"""Laplace-LoRA on a LoRA run: curvature of the training questions, prior precision by evidence or on the fit split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, FiniteFloat
from rich.progress import Progress
from torch import Tensor

from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors.draws import bank_places
from uq4ct.model_store.posteriors.kronecker import KroneckerFactors
from uq4ct.model_store.posteriors.laplace import LaplaceConfig, antithetic_noise, draw_logits, linearise
from uq4ct.model_store.predictor import batches_by_length
from uq4ct.model_store.scoring.encoding import collate
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.training.methods.base import Finished, Fitting, PostHocMethod, one_lora
from uq4ct.training.methods.evidence import Evidence
from uq4ct.training.methods.kronecker_fitting import Curvature, fit_curvature

PRECISIONS = tuple(10 ** (step / 4) for step in range(-8, 25))  # from 0.01 to a million, tried on the fit split


class LaplaceOptions(Frozen):
    """An answer costs one forward and a backward for each of its candidates, whatever the number of samples."""

    samples: int = Field(default=1000, ge=2, le=100_000, multiple_of=2, description="S, draws of the logits")
    factor_rank: int = Field(default=10, ge=1, description="eigenvectors kept of the inputs of A and the outputs of B")
    prior_precision: Literal["marglik", "fit_nll"] | Annotated[FiniteFloat, Field(gt=0)] = Field(
        default="marglik", description="of largest marginal likelihood, of lowest NLL on the fit split, or a number"
    )


def _fit(fitting: Fitting, options: LaplaceOptions) -> Finished:
    weights = fitting.weights[0]
    with Progress(console=fitting.console, disable=not fitting.console.is_terminal, transient=True) as bar:
        task = bar.add_task("curvature", total=len(fitting.train))
        curvature = fit_curvature(
            fitting.model,
            fitting.train,
            options.factor_rank,
            fitting.batch_tokens,
            fitting.seed,
            lambda questions: bar.advance(task, questions),
        )
    precision = _prior_precision(fitting, options, curvature)
    fitting.console.print(f"prior precision {precision:.4g}", highlight=False, soft_wrap=True)
    posterior = LaplaceConfig(
        samples=options.samples,
        prior_precision=precision,
        options=max(question.encoded.options for question in fitting.train),
        seed=fitting.seed,
    )
    stored = [factors.stored(name) for name, factors in curvature.factors.items()]
    return Finished(posterior, {**weights, **{name: tensor for one in stored for name, tensor in one.items()}})


def _prior_precision(fitting: Fitting, options: LaplaceOptions, curvature: Curvature) -> float:
    if options.prior_precision == "marglik":
        return evidence_of(fitting.weights[0], curvature).best_precision()
    if options.prior_precision == "fit_nll":
        noise = antithetic_noise(options.samples, fitting.seed)
        nll = torch.stack([_nll(fitting, chosen, curvature.factors, noise) for chosen in _batches(fitting)]).sum(dim=0)
        return PRECISIONS[int(nll.argmin())]
    return options.prior_precision


def evidence_of(weights: Mapping[str, Tensor], curvature: Curvature) -> Evidence:
    """The evidence of trained weights; only those of the expert banks are parameters of the posterior."""
    banks = [weights[f"{place}.{weight}"] for place in bank_places(weights) for weight in ("A", "B")]
    squared_norm = sum(weight.double().square().sum().item() for weight in banks)
    eigenvalues = torch.cat([factors.curvature.flatten() for factors in curvature.factors.values()])
    return Evidence(curvature.log_likelihood, squared_norm, eigenvalues)


def _batches(fitting: Fitting) -> list[list[int]]:
    return list(batches_by_length([question.encoded for question in fitting.fit], fitting.batch_tokens))


def _nll(fitting: Fitting, chosen: list[int], factors: Mapping[str, KroneckerFactors], noise: Tensor) -> Tensor:
    """The NLL of one batch of the fit split under every prior precision, as it would be served: nats [G], summed."""
    batch = collate([fitting.fit[index].encoded for index in chosen]).to(fitting.model.device)
    answers = torch.tensor([[fitting.fit[index].answer] for index in chosen])
    predictive = linearise(fitting.model, batch, factors, PRECISIONS)
    draws = (draw_logits(predictive.logits, covariance, noise).cpu() for covariance in predictive.covariances)
    return torch.stack([-mean_probabilities(logits).gather(1, answers).log().sum() for logits in draws])


LAPLACE = PostHocMethod(options=LaplaceOptions, needs=one_lora, fit=_fit)
