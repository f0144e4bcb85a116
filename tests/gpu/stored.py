"""Adapters published on the CPU and loaded on the device give the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from tests.gpu.adapters import QUESTIONS, adapter_of, answer_all, reference_answers
from tests.gpu.agreement import TOLERANCES, compare_answers
from tests.gpu.parts import Case, Setting
from tests.gpu.report import Figure
from tests.gpu.shapes import placed_base, quiz
from uq4ct.model_store.base.files import find_base_files
from uq4ct.model_store.calibrations import NoCalibration
from uq4ct.model_store.published import load_predictor
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.manifest import ManifestDraft, parse_manifest
from uq4ct.model_store.storage.registry import Registry

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = ("point", "ensemble")


def cases(setting: Setting) -> list[Case]:
    """Return a posterior without its own tensors, and one with them."""
    return [
        Case(f"{kind}, {dtype}", partial(_measure, setting, kind, dtype), 20.0)
        for kind in KINDS
        for dtype in setting.dtypes
    ]


def _measure(setting: Setting, kind: str, dtype: str) -> Sequence[Figure]:
    published = load_predictor(kind, publish(setting, kind).root, device=str(setting.device), dtype=dtype)
    answers = answer_all(published.predictor, quiz()[:QUESTIONS])
    return compare_answers(answers, reference_answers(setting, kind), TOLERANCES[dtype])


@cache
def publish(setting: Setting, kind: str) -> Registry:
    """Return a store with the adapter of a kind under that name."""
    registry = Registry(setting.folder / f"store-{kind}")
    adapter = adapter_of(setting, kind)
    # The scores and references that every manifest needs come from a golden manifest; their values do not matter.
    golden = max(GOLDEN.rglob("manifest.json"))
    lent = parse_manifest(golden.read_bytes(), golden)
    fields = {name: getattr(lent, name) for name in ManifestDraft.model_fields} | {
        "name": kind,
        "dtype": "float32",
        "base": find_base_files(placed_base(setting).name).identity,
        "adapter": adapter.config,
        "scoring": ClozeConfig(),
        "posterior": adapter.posterior,
        "calibration": NoCalibration(),
    }
    registry.publish(ManifestDraft(**fields), adapter.tensors, {}, promote=True)
    return registry
