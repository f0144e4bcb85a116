"""What a run will need, before it starts: its memory and its time, from a rehearsal of parts of its steps."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from safetensors import safe_open

from uq4ct.model_store.base.files import find_base_files
from uq4ct.model_store.base.models import resolve_device, resolve_dtype
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import batches_by_length, score_batch
from uq4ct.training.data.batches import TrainingQuestion, epoch_steps, split_step
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import TrainedMethod, Variation
from uq4ct.training.run_config import ConfigError, RunConfig
from uq4ct.training.runs.inputs import RunInputs, load_inputs, prepare_steps
from uq4ct.training.runs.loop import Trainer
from uq4ct.training.runs.memory import PeakMemory, available_memory, memory_in_use, peak_memory
from uq4ct.training.runs.resume_point import LoopState

_REHEARSED = (4, 2)  # a quarter and a half of the largest forward


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """The largest piece of one kind of work: its `tokens`, its `peak` memory in bytes, and seconds by a line."""

    tokens: int
    peak: int
    fixed_seconds: float
    token_seconds: float

    def seconds(self, pieces: int, tokens: int) -> float:
        """Return how long so many pieces with so many tokens in all take."""
        return pieces * self.fixed_seconds + tokens * self.token_seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """The needs of a run: memory in bytes, times in seconds.

    `weights` are those of the frozen base model, `adapter` the trained parameters with their gradients and the two
    moments of AdamW. `before` is the memory in use before the first step, and `loading` is the peak up to that point.
    `step` describes the largest training forward, and `evaluation` the largest forward over the fit split. `saving` is
    the peak while a resume point is written.
    """

    base_parameters: int
    trained_parameters: int
    weights: int
    adapter: int
    before: int
    loading: int
    step: WorkPlan
    evaluation: WorkPlan
    saving: int
    available: int
    questions: int
    steps: int
    tokens: int
    seconds: float

    @property
    def peak(self) -> int:
        """The most memory that the run will use."""
        return max(self.loading, self.step.peak, self.evaluation.peak, self.saving)

    @property
    def fits(self) -> bool:
        """Whether that is available."""
        return self.peak <= self.available

    @property
    def tokens_per_second(self) -> float:
        """The rate of training."""
        return self.tokens / self.step.seconds(self.steps, self.tokens)

    def fitting_tokens(self, work: WorkPlan) -> int:
        """Return how many tokens of a forward fit with a tenth to spare; 0 if none do."""
        resident = self.before + self.adapter
        per_token = max(work.peak - resident, 0) / work.tokens
        room = 0.9 * self.available - resident
        return int(room / per_token) if room > 0 and per_token > 0 else 0


def plan_run(config: RunConfig, console: Console) -> Plan:
    """Rehearse parts of a run's largest forwards and return what the whole run will need; nothing is kept.

    The peaks of a quarter and of a half of a forward are extended on a line to the whole, so that a run that does not
    fit can be planned; a forward of one or two questions is rehearsed whole. The time is that of all tokens, by the
    same two parts.

    Raises:
        ConfigError: the method is fitted on finished runs, which have plans of their own; or the weights alone do not
            fit.
        DataError, QuestionFileError, BaseModelError: the data or the base model cannot be used.
        UnknownMemoryError: the system does not say how much memory a process uses.
    """
    method = METHODS[config.method]
    if not isinstance(method, TrainedMethod):
        needed = ", ".join(sorted({need.method for need in config.needed_runs()}))
        raise ConfigError(f"method {config.method} is fitted on finished runs: plan a recipe with method {needed}")
    _check_weights(config)
    with tempfile.TemporaryDirectory(prefix="uq4ct-plan-") as folder:
        return _rehearse(load_inputs(config, Path(folder), console), method)


def _check_weights(config: RunConfig) -> None:
    """Compare the size of the stored weights with the available memory before they are loaded."""
    base = config.base
    device = resolve_device(base.device)
    dtype = resolve_dtype(base.dtype, device)
    needed = dtype.itemsize * _stored_parameters(find_base_files(base.name, base.revision).folder)
    available = available_memory(device)
    if needed > available:
        raise ConfigError(
            f"base: the weights of {base.name} take {needed / 1e9:.2f} GB in {str(dtype).removeprefix('torch.')}, and "
            f"{available / 1e9:.2f} GB are available: choose a smaller base model"
            + (" or base.dtype bfloat16" if dtype == torch.float32 else "")
        )


def _stored_parameters(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def _rehearse(inputs: RunInputs, method: TrainedMethod) -> Plan:
    training, train, fit, device = inputs.config.training, inputs.train, inputs.fit, inputs.model.device
    loading, before = peak_memory(device), memory_in_use(device)
    variation = prepare_steps(inputs, method)
    trainer = Trainer(_one_forward(inputs.config), method, inputs.model, variation, train, lambda: 0.0, inputs.folder)
    parameters = trainer.parameters.values()
    trained = sum(parameter.nbytes for parameter in parameters)
    largest, accumulates = _largest_forward(inputs)
    trainer.set_training(True)
    trainer.take_step(largest[:1], 1)  # allocates the moments of AdamW
    step = _extend(largest, lambda part: trainer.take_step(part, 1), trained if accumulates else 0, device)
    trainer.set_training(False)
    batches = list(batches_by_length(fit.encoded, training.evaluation_batch_tokens))
    evaluation = _plan_evaluation(inputs, batches, variation)
    saving = PeakMemory(device)
    trainer.save(LoopState())
    tokens = training.epochs * sum(train.lengths)
    scoring = training.epochs * evaluation.seconds(len(batches), sum(fit.lengths))
    base = list(inputs.base.model.parameters())
    return Plan(
        base_parameters=sum(parameter.numel() for parameter in base if not parameter.requires_grad),
        trained_parameters=sum(parameter.numel() for parameter in parameters),
        weights=sum(parameter.nbytes for parameter in base if not parameter.requires_grad),
        adapter=4 * trained,
        before=before,
        loading=loading,
        step=step,
        evaluation=evaluation,
        saving=saving.read(),
        available=available_memory(device),
        questions=len(train),
        steps=trainer.steps,
        tokens=tokens,
        seconds=step.seconds(trainer.steps, tokens) + scoring,
    )


def _one_forward(config: RunConfig) -> RunConfig:
    """Return the configuration with one forward for each step, whatever its length."""
    training = config.training.model_copy(update={"accumulation": 1, "forward_tokens": None})
    return config.model_copy(update={"training": training})


def _largest_forward(inputs: RunInputs) -> tuple[Sequence[TrainingQuestion], bool]:
    """Return the questions of the forward with the most tokens, longest first, and whether its step has others."""
    training, train = inputs.config.training, inputs.train
    steps = [
        step
        for epoch in range(training.epochs)
        for step in epoch_steps(train.lengths, train.held_out, training.batch_questions, training.seed, epoch)
    ]
    longest = max(steps, key=lambda step: sum(train.lengths[index] for index in step))
    parts = list(split_step([train[index] for index in longest], training.accumulation, training.forward_tokens))
    return max(parts, key=_tokens)[::-1], len(parts) > 1


def _plan_evaluation(inputs: RunInputs, batches: Sequence[Sequence[int]], variation: Variation | None) -> WorkPlan:
    fit, posterior = inputs.fit, PointPosterior(variation)
    largest = max(batches, key=lambda batch: sum(fit.lengths[index] for index in batch))
    questions = [fit[index] for index in reversed(largest)]
    return _extend(
        questions,
        lambda part: score_batch(inputs.model, posterior, [one.encoded for one in part]),
        0,
        inputs.model.device,
    )


def _extend(
    questions: Sequence[TrainingQuestion],
    run: Callable[[Sequence[TrainingQuestion]], object],
    beside: int,
    device: torch.device,
) -> WorkPlan:
    """Run parts of a forward and extend their peaks and times to the whole of it.

    `questions` are the longest first; each part has the longest. `beside` is the memory that is held beside the whole
    forward, but not beside its parts.
    """
    parts = {_tokens(part): part for part in (questions[::every] for every in _REHEARSED)}
    if len(parts) == 1:
        parts = {_tokens(questions): questions}
    measured = []
    for tokens, part in parts.items():
        peak = PeakMemory(device)
        started = time.perf_counter()
        run(part)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        measured.append((tokens, peak.read(), time.perf_counter() - started))
    return _line(measured, _tokens(questions), beside)


def _line(measured: Sequence[tuple[int, int, float]], tokens: int, beside: int) -> WorkPlan:
    """Return the plan of a forward with so many tokens by the (tokens, peak, seconds) of one or two parts of it."""
    few, peak, seconds = measured[0]
    if len(measured) == 1:
        return WorkPlan(tokens, peak + beside, 0.0, seconds / few)
    many, higher, longer = measured[1]
    slope = max(0.0, (higher - peak) / (many - few))
    rate = (longer - seconds) / (many - few)
    fixed = longer - rate * many
    if rate <= 0 or fixed < 0:  # the times are too noisy for a line with two unknowns
        rate, fixed = longer / many, 0.0
    return WorkPlan(tokens, int(max(peak, higher) + slope * (tokens - many)) + beside, fixed, rate)


def _tokens(questions: Sequence[TrainingQuestion]) -> int:
    return sum(question.encoded.length for question in questions)
