"""The service in its own process, queried over loopback: compare every answer with the CPU's and measure the speed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from tests.benchmarks.http_load import Plan, Reply, load_generator
from tests.benchmarks.served import RunningService, running_service
from tests.gpu.adapters import reference_answers
from tests.gpu.agreement import TOLERANCES, compare_answers
from tests.gpu.parts import Case, Setting, peak_resident_megabytes
from tests.gpu.report import Figure
from tests.gpu.shapes import quiz
from tests.gpu.stored import publish
from uq4ct.client import Client, Prediction
from uq4ct.model_store.questions import Question

KIND = "point"
QUESTIONS = {"cuda": 384, "cpu": 64}
CONNECTIONS = 32
ALONE = 16  # questions asked one at a time


def cases(setting: Setting) -> list[Case]:
    """Return fp32 and, on a GPU, the dtype that the service chooses there by itself."""
    dtypes = setting.dtypes[: 2 if setting.on_gpu else 1]
    return [Case(f"{KIND}, {dtype}", partial(_measure, setting, dtype), 60.0) for dtype in dtypes]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer received over HTTP."""

    probabilities: tuple[float, ...]
    feu: float | None

    @classmethod
    def of(cls, prediction: Prediction) -> HttpAnswer:
        """Read a client's response."""
        return cls(tuple(one.probability for one in prediction.probabilities), prediction.feu)


def _measure(setting: Setting, dtype: str) -> Sequence[Figure]:
    count = QUESTIONS[setting.device.type]
    questions = quiz()[:count]
    reference = reference_answers(setting, KIND, questions=count)
    store = publish(setting, KIND).root
    free = _free_bytes(setting)
    with running_service(store, DEVICE=str(setting.device), DTYPE=dtype) as service:
        answers = _ask_all(service, questions)
        timed = _time(service, questions)
        memory = _server_memory(setting, service, free)
    return [
        Figure("questions", len(answers)),
        *compare_answers(answers, reference, TOLERANCES[dtype]),
        *timed,
        Figure("start to ready", service.seconds_to_ready, "s"),
        memory,
    ]


def _ask_all(service: RunningService, questions: Sequence[Question]) -> list[HttpAnswer]:
    """Ask all questions at once from many threads, so that they share batches."""
    with Client(service.address) as client, ThreadPoolExecutor(CONNECTIONS) as threads:

        def ask(question: Question) -> HttpAnswer:
            return HttpAnswer.of(client.predict(question.text, question.options))

        return list(threads.map(ask, questions))


def _time(service: RunningService, questions: Sequence[Question]) -> list[Figure]:
    bodies = [json.dumps({"question": question.text, "options": question.options}) for question in questions]
    with load_generator() as send:
        alone = send(Plan(service.port, bodies[:ALONE], connections=1))
        start = time.perf_counter()
        loaded = send(Plan(service.port, bodies, connections=CONNECTIONS))
        seconds = time.perf_counter() - start
    return [
        Figure("refused or failed", sum(reply.status != 200 for reply in alone + loaded), at_most=0),
        Figure(f"with {CONNECTIONS} in flight", len(loaded) / seconds, "questions/s"),
        Figure("p50", 1000 * _quantile(loaded, 0.5), "ms"),
        Figure("p99", 1000 * _quantile(loaded, 0.99), "ms"),
        Figure("one at a time p50", 1000 * _quantile(alone, 0.5), "ms"),
    ]


def _quantile(replies: Sequence[Reply], share: float) -> float:
    seconds = sorted(reply.seconds for reply in replies)
    return seconds[min(int(share * len(seconds)), len(seconds) - 1)]


def _free_bytes(setting: Setting) -> int:
    return torch.cuda.mem_get_info(setting.device)[0] if setting.on_gpu else 0


def _server_memory(setting: Setting, service: RunningService, free_before: int) -> Figure:
    """Return the server's memory; on a GPU with its CUDA context, and only correct if nothing else uses the device."""
    if setting.on_gpu:
        return Figure("server's device memory", (free_before - _free_bytes(setting)) / 1e6, "MB")
    return Figure("server's peak resident memory", peak_resident_megabytes(service.process.pid), "MB")
