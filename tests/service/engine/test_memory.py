"""Forwards that run out of memory: what counts as that, what is logged, and shapes that fail for good."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.service.conftest import Start
from tests.service.engine.engines import Run, question, until
from tests.service.fake_predictor import FakeHost, FakePredictor
from uq4ct.service.engine.engine import State
from uq4ct.service.engine.failures import NotReadyError
from uq4ct.service.engine.memory_errors import out_of_memory_reason
from uq4ct.service.engine.predictor import Served
from uq4ct.service.telemetry.logs import JsonFormatter

pytestmark = pytest.mark.anyio

SECRET = "xylophone"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the engine logs, as the service writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("uq4ct.service.engine")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def records(log: io.StringIO, message: str) -> list[dict[str, Any]]:
    """Return the log's records of one message."""
    return [record for record in map(json.loads, log.getvalue().splitlines()) if record["message"] == message]


def answered(outcomes: list[Served | Exception]) -> list[bool]:
    return [isinstance(outcome, Served) for outcome in outcomes]


@pytest.fixture
def broken(predictor: FakePredictor) -> FakePredictor:
    """A predictor whose forwards of 5 tokens fail, as oneDNN's do once it could not create their primitive."""
    predictor.no_memory = RuntimeError(f"could not create a primitive for {SECRET}")
    return predictor


async def test_a_shape_that_fails_is_not_ready_until_it_works_itself(run: Run, broken: FakePredictor) -> None:
    """Questions of other lengths are answered all the time, and say nothing about this one."""
    async with run(probe=0.02) as engine:
        broken.broken_tokens = {5}
        assert answered(await engine.submit([question(1, 5)])) == [False]
        assert engine.state is State.FAILING
        for _ in range(5):
            assert answered(await engine.submit([question(2, 9)])) == [True]
            assert engine.state is State.FAILING
            await asyncio.sleep(0.02)
        broken.broken_tokens = set()
        await until(lambda: engine.state is State.READY)
        assert broken.served_texts()[-1] == ["q1 q1 q1"]  # what failed was tried again


async def test_an_answer_to_a_question_of_that_length_makes_it_ready(run: Run, broken: FakePredictor) -> None:
    async with run() as engine:
        broken.broken_tokens = {5}
        await engine.submit([question(1, 5)])
        broken.broken_tokens = set()
        assert answered(await engine.submit([question(2, 6)])) == [True]
        assert engine.state is State.FAILING
        assert answered(await engine.submit([question(3, 5)])) == [True]
        assert engine.state is State.READY


async def test_a_question_larger_than_everything_that_fitted_fails_alone(run: Run, broken: FakePredictor) -> None:
    """Else one long question, sent again and again, could stop one replica after the other."""
    broken.passes = 2  # so that 64 words are more than a batch of the warm-up
    async with run() as engine:
        broken.broken_tokens = {64}
        assert answered(await engine.submit([question(1, 64)])) == [False]
        assert engine.state is State.READY


async def test_a_shape_that_never_works_again_ends_the_worker(run: Run, broken: FakePredictor, log: Any) -> None:
    async with run(probe=0.02, patience=0.1) as engine:
        broken.broken_tokens = {5}
        await engine.submit([question(1, 5)])
        await asyncio.wait_for(engine.wait_until_dead(), 5)
        assert engine.state is State.DEAD
        with pytest.raises(NotReadyError, match="dead"):
            await engine.submit([question(2)])
    (given_up,) = records(log, "model given up")
    assert given_up["level"] == "critical"
    assert given_up["failing_seconds"] >= 0.1


async def test_failures_of_every_question_end_the_worker_too(run: Run, predictor: FakePredictor) -> None:
    async with run(probe=0.02, patience=0.1) as engine:
        predictor.failures_to_come = 10**6
        for _ in range(3):
            await engine.submit([question(1)])
        await asyncio.wait_for(engine.wait_until_dead(), 5)


async def test_a_failure_that_passes_does_not_end_the_worker(run: Run, broken: FakePredictor) -> None:
    async with run(probe=0.02, patience=0.1) as engine:
        for _ in range(3):
            broken.broken_tokens = {5}
            await engine.submit([question(1, 5)])
            await asyncio.sleep(0.05)
            broken.broken_tokens = set()
            await until(lambda: engine.state is State.READY)
        assert answered(await engine.submit([question(2)])) == [True]


async def test_a_shape_of_an_adapter_that_was_unloaded_is_forgotten(run: Run, host: FakeHost, adapters: Any) -> None:
    other = host.given["other@1"] = FakePredictor(adapters.manifest("other@1"))
    async with run(probe=0.02) as engine:
        other.broken_tokens = {5}
        await engine.submit([question(1, 5, "other@1")])
        assert engine.state is State.FAILING
        await engine.swaps.unload("other@1")
        await until(lambda: engine.state is State.READY)


async def test_a_failing_shape_turns_ready_off(start: Start, broken: FakePredictor) -> None:
    async with start() as replica:
        broken.broken_tokens = {5}
        assert (await replica.ask("one two three", ("a", "b"))).status_code == 500
        assert (await replica.ask("one two three four", ("a", "b"))).status_code == 200
        assert (await replica.client.get("/health/ready")).status_code == 503


async def test_the_log_has_the_reason_and_the_place_without_the_question(
    run: Run, broken: FakePredictor, log: io.StringIO
) -> None:
    async with run(probe=0.02) as engine:
        broken.broken_tokens = {5}
        await engine.submit([question(1, 5)])
        await until(lambda: records(log, "probe failed"))
        broken.broken_tokens, broken.failures_to_come = set(), 1
        await engine.submit([question(2, 7)])  # the fake's error quotes the question
    failed = records(log, "forward failed")
    assert [record["reason"] for record in failed] == ["could not create a primitive", None]
    assert [record["error"] for record in failed] == ["RuntimeError", "RuntimeError"]
    assert all("answer (" in record["place"] and "fake_predictor.py:" in record["place"] for record in failed)
    assert [record["tokens"] for record in failed] == [5, 7]
    assert records(log, "probe failed")[0]["reason"] == "could not create a primitive"
    assert SECRET not in log.getvalue()
    assert "q2" not in log.getvalue()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("could not create a primitive"), "could not create a primitive"),
        (
            RuntimeError("could not create a primitive descriptor for the matmul primitive. Run workload with"),
            "could not create a primitive descriptor",
        ),
        (RuntimeError("could not create a memory object"), "could not create a memory object"),
        (RuntimeError("could not execute a primitive"), "could not execute a primitive"),
        (RuntimeError("std::bad_alloc"), "std::bad_alloc"),
        (MemoryError("std::bad_alloc"), "std::bad_alloc"),
        (MemoryError(SECRET), "out of memory"),
        (torch.OutOfMemoryError(SECRET), "out of memory"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"),
            "CUDA out of memory. Tried to allocate 20.00 GiB",
        ),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"), "CUDA error: out of memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            "CUBLAS_STATUS_ALLOC_FAILED",
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (RuntimeError("CUDA error: device-side assert triggered"), None),
        (ValueError("could not create a primitive"), None),
    ],
    ids=str,
)
def test_errors_about_memory_are_known(error: Exception, reason: str | None) -> None:
    assert out_of_memory_reason(error) == reason


def test_what_pytorch_raises_on_a_cpu_without_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert out_of_memory_reason(caught.value) == (
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 144115188075855872 bytes"
    )


WITHOUT_ADDRESS_SPACE = """
import asyncio, resource, sys
from pathlib import Path
from tests.service.engine.engines import make_engine, question, until
from tests.service.fake_predictor import FakeHost, FakePredictor
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.engine import State
from uq4ct.service.engine.predictor import Served
import torch

class Convolving(FakePredictor):
    '''Runs a convolution, which is a primitive of oneDNN, over the tokens of the batch.'''
    layer = torch.nn.Conv1d(64, 128, 3)
    def answer(self, encoded):
        tokens = sum(item.length for item in encoded)
        with torch.inference_mode():
            self.layer(torch.ones(tokens, 64, 50))
        return super().answer(encoded)

def mapped():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

async def main():
    adapters = Registry(Path(sys.argv[1]))
    predictor = Convolving(adapters.manifest("toy"))
    engine = make_engine(FakeHost(predictor).load, adapters)
    engine.start(0.0, 0.05, 1.0)
    await engine.wait_until_loaded()
    (warm,) = await engine.submit([question(1, 6)])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped(), hard))
    (failed,) = await engine.submit([question(2, 5)])
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    (again,) = await engine.submit([question(3, 5)])
    (other,) = await engine.submit([question(4, 6)])
    print([type(one).__name__ for one in (warm, failed, again, other)], engine.state.value)
    await asyncio.wait_for(engine.wait_until_dead(), 20)
    print(engine.state.value)
    await engine.close()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_real_primitive_without_address_space_for_a_moment_ends_the_worker(store_dir: Any) -> None:
    """oneDNN keeps the primitive that it could not create: that shape fails for ever, while others work."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ADDRESS_SPACE, str(store_dir)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['Served', 'ForwardFailedError', 'ForwardFailedError', 'Served'] failing",
        "dead",
    ]
