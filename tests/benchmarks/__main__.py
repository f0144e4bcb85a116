"""`make bench`: ratios on the embedded base model, interleaved in one run. Absolute figures do not carry over."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from tests.benchmarks.looped_experts import Place, loop_experts
from tests.benchmarks.plain_transformers import option_likelihoods
from tests.benchmarks.rounds import compare
from tests.benchmarks.served import running_service
from tests.benchmarks.small_adapter import publish_small
from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.layouts import run_decoder
from uq4ct.model_store.base.models import BaseModel, load_base_model
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor, batches_by_length
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.token_batch import collate
from uq4ct.training.data import facts
from uq4ct.training.data.batches import TrainingQuestion, forwards
from uq4ct.training.losses import LossConfig
from uq4ct.training.methods.base import Forward
from uq4ct.training.methods.uq4ct import UQ4CT

QUESTIONS = 32
BATCH_TOKENS = 2048
console = Console()


def main() -> None:
    """Print every ratio of the first version: R1, R2, R6, memory and start of the service."""
    base = load_base_model("smollm2-135m")
    shape = AdapterConfig(experts=8, top_k=2, rank=8, alpha=16)
    model = add_adapter(base, shape, ClozeConfig())
    _randomise(model)
    questions = list(facts.build().test[:QUESTIONS])
    console.print(
        f"{base.identity.name}, {base.dtype_name}, {torch.get_num_threads()} threads, {shape.experts} experts of rank "
        f"{shape.rank}, {len(questions)} quiz questions a round, batches of {BATCH_TOKENS} tokens",
        highlight=False,
    )
    _forward_ratios(base, model, questions)
    _service_figures()


def _forward_ratios(base: BaseModel, model: AdaptedModel, questions: list[Question]) -> None:
    training = _training_step(model, questions)
    looped = loop_experts(model)
    console.print(f"R6 training step / per-expert loop: {compare(training, _looped(looped, training), rounds=5)}")
    predictor = Predictor(model, PointPosterior())
    encoded = [predictor.encode(question) for question in questions]
    batches = [[encoded[i] for i in batch] for batch in batches_by_length(encoded, BATCH_TOKENS)]

    def ours() -> None:
        for batch in batches:
            predictor.candidate_samples(batch)

    @torch.inference_mode()
    def adapters_off() -> None:
        for batch in batches:
            plan = model.plan(collate(batch))
            hidden = run_decoder(base.model, plan.layout).flatten(0, 1)[plan.layout.kept]
            model.scorer(hidden, plan.scoring, model.head)

    console.print(f"R1 adapters on / off, same engine: {compare(ours, adapters_off)}")
    console.print(f"R6 forward / per-expert loop: {compare(ours, _looped(looped, ours))}")
    plain = load_base_model("smollm2-135m")
    budget = BATCH_TOKENS
    console.print(
        f"R2 UQ4CT / plain transformers, one padded row an option: "
        f"{compare(ours, lambda: option_likelihoods(plain, questions, budget))}"
    )


def _randomise(model: AdaptedModel) -> None:
    """Fill B, which starts at zero, with values as after training, so that no work can be skipped."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.adapter_tensors().items():
            if name.endswith(".experts.B"):
                parameter.normal_(std=0.01)


def _training_step(model: AdaptedModel, questions: list[Question]) -> Callable[[], None]:
    items = [TrainingQuestion(model.scorer.encode(question), question.answer or 0) for question in questions[:16]]
    parameters = list(model.adapter_tensors().values())

    def step() -> None:
        for batch in forwards(items, 1):
            output = model(batch.tokens)
            terms = UQ4CT.losses(Forward(output, batch, model.config, LossConfig(), 1, len(items), model, None))
            terms.total.backward()
        for parameter in parameters:
            parameter.grad = None

    return step


def _looped(places: list[Place], run: Callable[[], None]) -> Callable[[], None]:
    def with_loops() -> None:
        for parent, attribute, _, looped in places:
            setattr(parent, attribute, looped)
        try:
            run()
        finally:
            for parent, attribute, ours, _ in places:
                setattr(parent, attribute, ours)

    return with_loops


def _service_figures() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        publish_small(Path(folder), store)
        with running_service(store) as service:
            console.print(f"seconds from start to ready: {service.seconds_to_ready:.1f} (aim: under 20)")
            console.print(f"resident memory of the service: {service.resident_megabytes:.0f} MB (aim: under 1500)")


if __name__ == "__main__":
    sys.exit(main())
