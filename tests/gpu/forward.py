"""Compare the forward's probabilities and FEU with the CPU's in fp32, by posterior and dtype."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.gpu.adapters import (
    KINDS,
    QUESTIONS,
    adapter_of,
    answer_all,
    load_adapter,
    reference_answers,
)
from tests.gpu.agreement import TOLERANCES, compare_answers, probability_changes
from tests.gpu.parts import Case, Setting
from tests.gpu.report import Figure
from tests.gpu.shapes import quiz

OTHER_SEED = 10


def cases(setting: Setting) -> list[Case]:
    """Every posterior in every dtype."""
    return [
        Case(f"{kind}, {dtype}", partial(_measure, setting, kind, dtype), 20.0)
        for kind in KINDS
        for dtype in setting.dtypes
    ]


def _measure(setting: Setting, kind: str, dtype: str) -> Sequence[Figure]:
    reference, tolerance = reference_answers(setting, kind), TOLERANCES[dtype]
    predictor = load_adapter(setting, adapter_of(setting, kind), setting.device, dtype)
    figures = compare_answers(answer_all(predictor, quiz()[:QUESTIONS]), reference, tolerance)
    if kind == "point":  # the check would notice if another adapter answered
        _, another = probability_changes(reference_answers(setting, kind, OTHER_SEED), reference)
        figures.append(Figure("mean change to another adapter", another, at_least=1.5 * tolerance.mean))
    return figures
