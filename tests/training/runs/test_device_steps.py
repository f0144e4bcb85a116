"""A training step gives the device its work without waiting: on the device `meta`, reading a value raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.on_meta import OnlyMeta
from tests.training.conftest import ROUTED, MakeConfig
from tests.training.methods.method_table import SETTINGS
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import TrainedMethod
from uq4ct.training.runs.inputs import load_inputs
from uq4ct.training.runs.loop import Measured, Trainer

TRAINED = sorted(name for name, method in METHODS.items() if isinstance(method, TrainedMethod))


def step_on_meta(method_name: str, sections: dict[str, Any], config: MakeConfig, folder: Path) -> list[Measured]:
    """Take one step of two forwards with a model on `meta`, and return what it measured."""
    run = config(method_name, **sections)
    inputs = load_inputs(run, folder, Console(quiet=True))
    method = METHODS[method_name]
    assert isinstance(method, TrainedMethod)
    model = inputs.model.to("meta").train()
    variation = None if method.variation is None else method.variation(model, run.method_options()).to("meta")
    if variation is not None:
        variation.train()
    trainer = Trainer(run, method, model, variation, inputs.train, lambda: 0.0, folder)
    with OnlyMeta():
        return trainer.take_step([inputs.train[index] for index in range(8)], 1)


def merged(method: str, sections: dict[str, Any]) -> dict[str, Any]:
    own = SETTINGS.get(method, {})
    return {name: own.get(name, {}) | sections.get(name, {}) for name in {*own, *sections}}


@pytest.mark.parametrize("scoring", ["cloze", "letter"])
@pytest.mark.parametrize("method", TRAINED)
def test_a_step_waits_for_nothing(method: str, scoring: str, make_config: MakeConfig, tmp_path: Path) -> None:
    sections = {"scoring": {"kind": scoring}, "training": {"accumulation": 2}, "optimizer": {"clip_norm": 1.0}}
    measured = step_on_meta(method, merged(method, sections), make_config, tmp_path)
    assert len(measured) == 2
    for one in measured:
        assert one.values.is_meta
        assert one.names[0] == "loss"
        assert ("sum of FEU" in one.names) == (method in ROUTED)


@pytest.mark.parametrize(
    ("method", "sections"),
    [
        ("mixlora", {"adapter": {"placement": "block", "mixing": "renormalised"}}),
        ("mixlora", {"loss": {"load_balance_form": "top_k"}}),
        ("uq4ct", {"loss": {"indicator": "held_out"}}),
        ("lora", {"loss": {"l2": 0.01}}),
    ],
    ids=["block", "top_k", "held_out", "l2"],
)
def test_neither_do_other_placements_and_losses(
    method: str, sections: dict[str, Any], make_config: MakeConfig, tmp_path: Path
) -> None:
    assert all(one.values.is_meta for one in step_on_meta(method, sections, make_config, tmp_path))


def test_reading_a_value_raises() -> None:
    """What the other tests rely on."""
    values = torch.ones(3, device="meta")
    for read in (values.tolist, values.nonzero, values.sum().item, values.unique, lambda: bool(values.any())):
        with pytest.raises(RuntimeError):
            read()
    with pytest.raises(RuntimeError, match="mixes tensors"), OnlyMeta():
        torch.dot(values, torch.ones(3))
