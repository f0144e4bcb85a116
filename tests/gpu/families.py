"""Compare tiny random models of every kind of family with the CPU's answers in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.gpu.adapters import CPU, QUESTIONS, ROUTED, answer_all, random_tensors
from tests.gpu.agreement import TOLERANCES, compare_answers
from tests.gpu.parts import Case, Setting
from tests.gpu.report import Figure
from tests.gpu.shapes import quiz
from tests.model_store.base.families import EVERY_KIND, FAMILY, Family
from tests.tiny_base import train_tokenizer
from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.scoring.config import ClozeConfig


def cases(setting: Setting) -> list[Case]:
    """A family of each kind: layouts, heads, norms and linears that differ."""
    return [Case(name, partial(_measure, setting, FAMILY[name]), 10.0) for name in sorted(EVERY_KIND)]


def _measure(setting: Setting, family: Family) -> Sequence[Figure]:
    folder = str(family.save(setting.folder / family.name, train_tokenizer(start_token=True)))
    own, reference = (load_base_model(folder, device=str(device), dtype="float32") for device in (setting.device, CPU))
    models = [add_adapter(base, ROUTED, ClozeConfig()) for base in (own, reference)]
    tensors = random_tensors(models[1], seed=0)
    for model in models:
        model.load_adapter_tensors(tensors)
    answers, expected = (
        answer_all(Predictor(model, PointPosterior()), quiz()[:QUESTIONS], batch_tokens)
        for model, batch_tokens in zip(models, (2048, 1), strict=True)
    )
    changed = sum(base.layout != family.layout for base in (own, reference))
    return [*compare_answers(answers, expected, TOLERANCES["float32"]), Figure("other layouts", changed, at_most=0)]
