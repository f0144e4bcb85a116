"""Compare optimizer steps of a method with the CPU's in fp32: loss, gradient and updated weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from torch.optim import AdamW

from tests.gpu.adapters import CPU, ROUTED, new_model, random_tensors, reference_answers, training_questions
from tests.gpu.agreement import TOLERANCES, relative_change, relative_distance
from tests.gpu.parts import Case, Setting
from tests.gpu.report import Figure
from tests.gpu.shapes import quiz
from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.answers import Answer
from uq4ct.model_store.questions import Question
from uq4ct.training.data.batches import TrainingQuestion, forwards
from uq4ct.training.losses import LossConfig
from uq4ct.training.methods.base import Forward, TrainedMethod
from uq4ct.training.methods.lora import LORA
from uq4ct.training.methods.uq4ct import UQ4CT

METHODS = {"uq4ct": (UQ4CT, ROUTED), "lora": (LORA, ROUTED.plain)}
QUESTIONS = 8
STEPS = 3
LEARNING_RATE = 1e-3
CLIP_NORM = 1.0


def cases(setting: Setting) -> list[Case]:
    """Every method in every dtype."""
    return [
        Case(f"{method}, {dtype}", partial(_measure, setting, method, dtype), 25.0)
        for method in METHODS
        for dtype in setting.dtypes
    ]


@dataclass(frozen=True, slots=True)
class Trained:
    """`losses` of each step, the last taken after it; the `gradient` of the first and the `update` by all, flat."""

    losses: list[float]
    gradient: Tensor
    update: Tensor


def _measure(setting: Setting, method: str, dtype: str) -> Sequence[Figure]:
    expected, tolerance = _reference(setting, method), TOLERANCES[dtype]
    found = _train(setting, method, setting.device, dtype)
    learned = relative_change(expected.losses[-1], expected.losses[0])
    gradients = relative_distance(found.gradient, expected.gradient)
    updates = relative_distance(found.update, expected.update)
    return [
        Figure("loss", found.losses[0]),
        Figure("its change", relative_change(found.losses[0], expected.losses[0]), at_most=tolerance.loss),
        Figure("gradient norm", float(found.gradient.norm())),
        Figure("distance of gradients", gradients, at_most=tolerance.gradient),
        Figure("distance of updates", updates, at_most=tolerance.update),
        Figure("loss after the steps", found.losses[-1]),
        Figure("its change", relative_change(found.losses[-1], expected.losses[-1]), at_most=tolerance.loss),
        # The steps must change the loss by more than the tolerance, or the check of the last loss would prove nothing.
        Figure("change by the steps", learned, at_least=2 * tolerance.loss),
    ]


@cache
def _reference(setting: Setting, method: str) -> Trained:
    """The CPU's steps in fp32."""
    return _train(setting, method, CPU, "float32")


def _train(setting: Setting, method: str, device: torch.device, dtype: str) -> Trained:
    trained_method, config = METHODS[method]
    model = new_model(setting, config, device, dtype)
    model.load_adapter_tensors(random_tensors(model, seed=0))
    model.train()
    before = _flat(list(model.adapter_tensors().values()))
    stepper = Stepper(model, trained_method, training_questions(model, _clear_questions(setting)))
    losses = [stepper.backward()]
    gradient = stepper.gradient()
    for _ in range(STEPS):
        stepper.update()
        losses.append(stepper.backward())
    return Trained(losses, gradient, _flat(list(model.adapter_tensors().values())) - before)


class Stepper:
    """Steps on the same questions over and over, as `training.runs.loop` takes them."""

    def __init__(self, model: AdaptedModel, method: TrainedMethod, questions: Sequence[TrainingQuestion]) -> None:
        self._model = model
        self._method = method
        self._questions = questions
        self._parameters = list(model.adapter_tensors().values())
        self._optimizer = AdamW(self._parameters, lr=LEARNING_RATE, weight_decay=0.0)

    def backward(self) -> float:
        """Run a forward and a backward pass over all questions and return the loss."""
        (batch,) = forwards(self._questions, 1)
        placed = batch.to(self._model.device)
        output = self._model(placed.tokens)
        forward = Forward(output, placed, self._model.config, LossConfig(), 1, len(self._questions), self._model, None)
        total = self._method.losses(forward).total
        total.backward()
        return total.item()

    def gradient(self) -> Tensor:
        """All gradients in one vector on the CPU."""
        return _flat([torch.zeros_like(one) if one.grad is None else one.grad for one in self._parameters])

    def update(self) -> None:
        """Clip the gradients, change the weights and forget the gradients."""
        torch.nn.utils.clip_grad_norm_(self._parameters, CLIP_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad()


def _clear_questions(setting: Setting) -> list[Question]:
    """Return questions whose two best options differ clearly: rounding must not decide which answer is right."""
    answers = reference_answers(setting, "point")
    order = sorted(range(len(answers)), key=lambda index: _margin(answers[index]), reverse=True)
    return [quiz()[index] for index in order[:QUESTIONS]]


def _margin(answer: Answer) -> float:
    second, first = sorted(answer.probabilities)[-2:]
    return first - second


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().float().cpu().flatten() for tensor in tensors])
