"""Tokens per second of forwards and training steps, compared with a plain matrix product in the same run."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice

import torch

from tests.gpu.adapters import ROUTED, random_tensors, training_questions
from tests.gpu.flops import Weights, Work
from tests.gpu.parts import Case, NotRunError, Setting
from tests.gpu.report import Figure
from tests.gpu.shapes import SHAPES, placed_base, quiz, random_base
from tests.gpu.training_step import Stepper
from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.adapters.tuner import MixtureTuner
from uq4ct.model_store.base.identity import EMBEDDED
from uq4ct.model_store.base.models import BaseModel, resolve_dtype
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.token_batch import EncodedQuestion, collate
from uq4ct.training.methods.uq4ct import UQ4CT

MEASURED_SECONDS = 2.0  # of each case, after one call that warms up
LEAST_CALLS = 3
GEMM_SIZE = {"cuda": 8192, "cpu": 1024}
# Tokens of a forward (2048 is the service's default) and questions of a step, 16 the recipes' default.
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {"cuda": ((2048, 16384), (16, 128)), "cpu": ((512,), (4,))}
ROOM_BYTES = 12e9  # for activations beside the weights of a large model


def cases(setting: Setting) -> list[Case]:
    """Return the ceiling, then every shape; those with billions of weights only on a GPU."""
    bench = Bench(setting)
    dtypes = setting.dtypes if setting.on_gpu else ("float32",)
    listed = [Case(f"matrix product, {dtype}", partial(bench.measure_ceiling, dtype), 5.0) for dtype in dtypes]
    forwards, steps = SIZES[setting.device.type]
    for shape in dict.fromkeys((setting.shape, EMBEDDED, "llama-1b", "llama-7b")):
        name = f"{shape if shape == setting.shape else f'random {shape}'}, {setting.speed_dtype}"
        listed += [
            Case(f"{name}: forward, {n} tokens", partial(bench.measure_forward, shape, n), 15.0) for n in forwards
        ]
        listed += [Case(f"{name}: step, {n} questions", partial(bench.measure_step, shape, n), 20.0) for n in steps]
    return listed


class Bench:
    """The ceilings measured so far, and one base model at a time with an adapter that answers and one that trains."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._ceilings: dict[str, float] = {}
        self._shape = ""
        self._base: BaseModel | None = None
        self._tuner: MixtureTuner | None = None

    def measure_ceiling(self, dtype: str) -> Sequence[Figure]:
        """Measure the FLOP/s of a plain matrix product."""
        size = GEMM_SIZE[self._setting.device.type]
        device = self._setting.device
        left, right = (torch.randn(size, size, device=device).to(resolve_dtype(dtype, device)) for _ in range(2))
        seconds = seconds_per_call(lambda: left @ right, device)
        self._ceilings[dtype] = 2.0 * size**3 / seconds
        return [Figure(f"{size} x {size} x {size}", self._ceilings[dtype] / 1e12, "TFLOP/s")]

    def measure_forward(self, shape: str, tokens: int) -> Sequence[Figure]:
        """Measure answers to questions on the CPU, including collating, packing and copying back."""
        model = self._model(shape, "answers")
        predictor = Predictor(model, PointPosterior())
        encoded = take_tokens(predictor, tokens)
        seconds = seconds_per_call(lambda: predictor.candidate_samples(encoded), self._setting.device)
        work = work_of(model, encoded)
        return self._figures(work, weights_of(model, shape).forward_flops(work), seconds, len(encoded))

    def measure_step(self, shape: str, questions: int) -> Sequence[Figure]:
        """Measure an optimizer step of uq4ct."""
        model = self._model(shape, "trains").train()
        items = training_questions(model, list(islice(cycle(quiz()), questions)))
        stepper = Stepper(model, UQ4CT, items)

        def step() -> None:
            stepper.backward()
            stepper.update()

        seconds = seconds_per_call(step, self._setting.device)
        work = work_of(model, [item.encoded for item in items])
        return self._figures(work, weights_of(model, shape).training_flops(work), seconds, questions)

    def _figures(self, work: Work, flops: float, seconds: float, questions: int) -> Sequence[Figure]:
        figures = [
            Figure("tokens", work.tokens),
            Figure("speed", work.tokens / seconds, "tokens/s"),
            Figure("or", questions / seconds, "questions/s"),
            Figure("model", flops / seconds / 1e12, "TFLOP/s"),
        ]
        ceiling = self._ceilings.get(self._setting.speed_dtype)
        share = [] if ceiling is None else [Figure("utilisation", 100 * flops / seconds / ceiling, "%")]
        return [*figures, *share]

    def _model(self, shape: str, adapter: str) -> AdaptedModel:
        """Return a new adapter on the base model of a shape."""
        base = self._base_of(shape)
        if self._tuner is not None and adapter in self._tuner:
            self._tuner.remove(adapter)
        model = add_adapter(base, ROUTED, ClozeConfig(), adapter=adapter, tuner=self._tuner)
        model.load_adapter_tensors(random_tensors(model, seed=0))
        self._tuner = model.tuner
        return model

    def _base_of(self, shape: str) -> BaseModel:
        if self._base is None or shape != self._shape:
            self._base = self._tuner = None  # two large models would not fit
            gc.collect()
            self._base, self._shape = self._load(shape), shape
        return self._base

    def _load(self, shape: str) -> BaseModel:
        setting = self._setting
        if shape == setting.shape:
            return placed_base(setting).load(setting.device, setting.speed_dtype)
        if not setting.on_gpu:
            if shape != EMBEDDED:
                raise NotRunError("needs a CUDA device")
            return random_base(SHAPES[shape], setting.device, setting.speed_dtype)
        torch.cuda.empty_cache()
        needed, free = 2 * SHAPES[shape].parameters + ROOM_BYTES, torch.cuda.mem_get_info(setting.device)[0]
        if free < needed:
            raise NotRunError(f"needs {needed / 1e9:.0f} GB of device memory, {free / 1e9:.0f} GB are free")
        return random_base(SHAPES[shape], setting.device, setting.speed_dtype)


def seconds_per_call(run: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a call, in seconds."""

    def timed() -> float:
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    timed()
    seconds: list[float] = []
    end = time.perf_counter() + MEASURED_SECONDS
    while len(seconds) < LEAST_CALLS or time.perf_counter() < end:
        seconds.append(timed())
    return statistics.median(seconds)


def take_tokens(predictor: Predictor, tokens: int) -> list[EncodedQuestion]:
    """Repeat the questions of the quiz up to that many tokens."""
    taken: list[EncodedQuestion] = []
    total = 0
    for question in cycle(quiz()):
        encoded = predictor.encode(question)
        total += encoded.length
        if taken and total > tokens:
            return taken
        taken.append(encoded)
    raise ValueError("the quiz has no questions")


def work_of(model: AdaptedModel, encoded: Sequence[EncodedQuestion]) -> Work:
    """Return the work of the questions."""
    rows = len(model.plan(collate(encoded)).scoring.read)
    return Work.of([question.length for question in encoded], rows)


def weights_of(model: AdaptedModel, shape: str) -> Weights:
    """Return the weights of a model of a shape."""
    sizes = SHAPES[shape]
    head = sizes.vocabulary * sizes.hidden
    adapter = sum(parameter.numel() for parameter in model.adapter_tensors().values() if parameter.dim() == 2)
    base = sizes.parameters - head * (1 if sizes.tied else 2)
    return Weights(base, adapter, head, sizes.layers * sizes.hidden)
