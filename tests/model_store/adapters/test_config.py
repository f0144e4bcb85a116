from __future__ import annotations

import pytest
from pydantic import ValidationError

from uq4ct.model_store.adapters.config import AdapterConfig


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"experts": 2, "top_k": 3}, "top_k 3 is larger than the number of experts 2"),
        ({"targets": ("q_proj", "q_proj")}, "name a linear twice"),
        ({"targets": ()}, "targets"),
        ({"dropout": 1.0}, "dropout"),
        ({"alpha": 0.0}, "alpha"),
        ({"mixing": "mean"}, "mixing"),
        ({"colour": "red"}, "colour"),
        ({"placement": "block"}, "placement 'block' needs mixing 'renormalised', not 'raw'"),
        ({"placement": "block", "mixing": "renormalised", "experts": 1, "top_k": 1}, "at least 2 experts"),
        (
            {"placement": "block", "mixing": "renormalised", "targets": ("q_proj", "up_proj")},
            r"targets lack \['gate_proj', 'down_proj'\]",
        ),
    ],
)
def test_a_wrong_field_is_named(changes, named):
    with pytest.raises(ValidationError, match=named):
        AdapterConfig(**changes)


def test_one_expert_has_no_router():
    assert not AdapterConfig(experts=1, top_k=1).routed
    assert AdapterConfig(experts=2, top_k=1).routed
    assert AdapterConfig(rank=16, alpha=32.0).scale == 2.0
