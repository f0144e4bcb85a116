"""Count how often the host waits for the GPU within a forward and a training step; without a GPU, on `meta`.

On the device `meta` whatever would wait raises an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.optim import AdamW

from tests.gpu.adapters import KINDS, QUESTIONS, adapter_of, load_adapter, new_model, training_questions
from tests.gpu.parts import Case, Setting
from tests.gpu.report import Figure
from tests.gpu.shapes import quiz
from tests.gpu.training_step import CLIP_NORM, METHODS
from uq4ct.model_store.token_batch import collate
from uq4ct.training.data.batches import forwards
from uq4ct.training.losses import LossConfig
from uq4ct.training.methods.base import Forward


def cases(setting: Setting) -> list[Case]:
    """A forward of every posterior, and a step of every method."""
    return [
        *(Case(f"forward, {kind}", partial(_measure_forward, setting, kind), 15.0) for kind in KINDS),
        *(Case(f"step, {method}", partial(_measure_step, setting, method), 15.0) for method in METHODS),
    ]


def _measure_forward(setting: Setting, kind: str) -> Sequence[Figure]:
    predictor = load_adapter(setting, adapter_of(setting, kind), setting.device, setting.speed_dtype)
    model, posterior = predictor.model, predictor.posterior
    if not setting.on_gpu:
        model.to("meta")
        posterior.place(model.device, model.dtype)
    batch = collate([predictor.encode(question) for question in quiz()[:QUESTIONS]])
    return [_waits(setting, lambda: posterior.candidate_samples(model, batch))]


def _measure_step(setting: Setting, name: str) -> Sequence[Figure]:
    method, config = METHODS[name]
    model = new_model(setting, config, setting.device, setting.speed_dtype)
    model.to(setting.device if setting.on_gpu else "meta").train()
    parameters = list(model.adapter_tensors().values())
    optimizer = AdamW(parameters)
    questions = training_questions(model, quiz()[:QUESTIONS])

    def step() -> None:
        (batch,) = forwards(questions, 1)
        placed = batch.to(model.device)
        output = model(placed.tokens)
        method.losses(Forward(output, placed, config, LossConfig(), 1, QUESTIONS, model, None)).total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()

    return [_waits(setting, step)]


def _waits(setting: Setting, work: Callable[[], object]) -> Figure:
    """Do the work twice, since the first time libraries start, and count the waits of the second time."""
    work()
    if not setting.on_gpu:
        return Figure("waits", 0, at_most=0)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(one.message) for one in found if "synchronizing CUDA operation" in str(one.message)]
    return Figure("waits", len(waits), at_most=0)
