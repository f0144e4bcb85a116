"""Adapters with random weights, one per kind of posterior that is checked, and their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from rich.console import Console
from torch import Tensor

from tests.gpu.parts import Setting
from tests.gpu.shapes import placed_base, quiz
from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.answers import Answer
from uq4ct.model_store.posteriors import PosteriorConfig, adapter_tensors
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.model_store.posteriors.ensemble import EnsembleConfig, stack_members
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.model_store.predictor import Predictor, batches_by_length
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.methods.base import Fitting
from uq4ct.training.methods.laplace import LAPLACE, LaplaceOptions

CPU = torch.device("cpu")
KINDS = ("point", "ensemble", "dropout", "laplace")
ROUTED = AdapterConfig(experts=8, top_k=2, rank=8, alpha=16, dropout=0)
B_STD = {True: 0.1, False: 0.02}  # of routed and plain adapters: what they add is then some percent of each linear
QUESTIONS = 32
LAPLACE_QUESTIONS = 8  # it is fitted on: a backward pass for each of their options
BATCH_TOKENS = 2048  # of the device's forwards; the reference answers question by question


@dataclass(frozen=True, slots=True)
class RandomAdapter:
    """An adapter as it is stored; `posterior` says how it answers."""

    config: AdapterConfig
    tensors: Mapping[str, Tensor]
    posterior: PosteriorConfig


def new_model(setting: Setting, config: AdapterConfig, device: torch.device, dtype: str) -> AdaptedModel:
    """Return an untrained adapter on the base model of the agreement checks."""
    return add_adapter(placed_base(setting).load(device, dtype), config, ClozeConfig())


def random_tensors(model: AdaptedModel, seed: int) -> dict[str, Tensor]:
    """Return random weights for all of an adapter, including B, which is zero before training."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, parameter: Tensor) -> Tensor:
        if parameter.dim() == 0:
            return torch.zeros(())  # the logarithm of the scoring's scale
        std = B_STD[model.config.routed] if name.endswith(".B") else parameter.shape[1] ** -0.5
        return torch.randn(parameter.shape, generator=generator) * std

    return {name: draw(name, parameter) for name, parameter in model.adapter_tensors().items()}


@cache
def adapter_of(setting: Setting, kind: str, seed: int = 0) -> RandomAdapter:
    """Return the adapter of a kind: `point` has routers, the others are plain LoRA."""
    config = ROUTED if kind == "point" else ROUTED.plain
    model = new_model(setting, config, CPU, "float32")
    tensors = random_tensors(model, seed)
    if kind == "point":
        return RandomAdapter(config, tensors, PointConfig())
    if kind == "dropout":
        return RandomAdapter(config, tensors, DropoutConfig(samples=4, share=0.1, seed=seed))
    if kind == "ensemble":
        members = [tensors, random_tensors(model, seed + 1), random_tensors(model, seed + 2)]
        return RandomAdapter(config, stack_members(members), EnsembleConfig(samples=3))
    if kind == "laplace":
        return _fit_laplace(model, tensors, seed)
    raise ValueError(f"kind {kind!r} is not one of {', '.join(KINDS)}")


def _fit_laplace(model: AdaptedModel, tensors: Mapping[str, Tensor], seed: int) -> RandomAdapter:
    model.load_adapter_tensors(tensors)
    model.eval()
    train = training_questions(model, quiz()[-LAPLACE_QUESTIONS:])
    fitting = Fitting(model, [tensors], [], train, [], BATCH_TOKENS, seed, Console(quiet=True))
    finished = LAPLACE.fit(fitting, LaplaceOptions(samples=64, factor_rank=4, prior_precision=100.0))
    return RandomAdapter(model.config, finished.tensors, finished.posterior)


def training_questions(model: AdaptedModel, questions: Sequence[Question]) -> list[TrainingQuestion]:
    """Return the questions with their answers, encoded."""
    return [TrainingQuestion(model.scorer.encode(question), question.answer or 0) for question in questions]


def load_adapter(setting: Setting, adapter: RandomAdapter, device: torch.device, dtype: str) -> Predictor:
    """Load an adapter for inference on a device."""
    model = new_model(setting, adapter.config, device, dtype)
    model.load_adapter_tensors(adapter_tensors(adapter.tensors))
    return Predictor(model, adapter.posterior.build(adapter.tensors))


def answer_all(predictor: Predictor, questions: Sequence[Question], batch_tokens: int = BATCH_TOKENS) -> list[Answer]:
    """Return answers in the order of the questions; with `batch_tokens` 1 each question is answered alone."""
    encoded = [predictor.encode(question) for question in questions]
    answers: dict[int, Answer] = {}
    for batch in batches_by_length(encoded, batch_tokens):
        answers |= zip(batch, predictor.answer([encoded[index] for index in batch]), strict=True)
    return [answers[index] for index in range(len(encoded))]


@cache
def reference_answers(setting: Setting, kind: str, seed: int = 0, questions: int = QUESTIONS) -> list[Answer]:
    """Return the CPU's answers in fp32, question by question."""
    predictor = load_adapter(setting, adapter_of(setting, kind, seed), CPU, "float32")
    return answer_all(predictor, quiz()[:questions], batch_tokens=1)
