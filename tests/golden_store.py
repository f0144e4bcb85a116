"""The golden store of the current format: `python -m tests.golden_store` writes it, once per format.

It holds a base model, one adapter on it, and what that adapter answered when it was written.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.manifests import make_draft, make_provenance, make_scores
from tests.tiny_base import save_tiny_base, train_tokenizer
from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.calibrations import FeuTemperatureCalibration
from uq4ct.model_store.decisions import Abstention, ConformalSets, Decisions, TestedDecisions
from uq4ct.model_store.posteriors.weight_gaussian import GaussianConfig, std_name
from uq4ct.model_store.published import predictor_on_base
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.manifest import FORMAT_VERSION
from uq4ct.model_store.storage.registry import Registry

GOLDEN = Path(__file__).parent / "golden"
REPORT = "# Tiny\n\nConfidence größer als FEU.\n".encode()
ADAPTER = AdapterConfig(
    experts=4,
    top_k=2,
    rank=2,
    alpha=3.0,
    dropout=0.125,
    mixing="renormalised",
    feu_tokens="prompt_and_options",
    targets=("q_proj", "down_proj"),
)
SCORING = ClozeConfig(reduction="mean", max_tokens=96)
QUESTIONS = (
    Question("q0", "What colour is the sky?", ("blue", "red at dusk", "white")),
    Question("q1", "12 + 22?", ("34", "12", "567", "1", "none of these"), context="Sums of small numbers."),
)
DECISIONS = Decisions(
    sets=ConformalSets(score="aps", coverage=0.8, max_set_size=3, questions=5, scores=(0.125, 0.5, 0.5, 0.8125, 1.0)),
    abstention=Abstention(
        target="coverage",
        value=0.7,
        guarantee=0.95,
        threshold=0.45,
        questions=50,
        risk=0.1,
        risk_bound=0.21875,
        coverage=0.84,
        coverage_bound=0.7265625,
    ),
    tested=TestedDecisions(set_coverage=0.8125, mean_set_size=1.75, answered=0.8, selective_risk=0.125),
)


def fill(shape: tuple[int, ...], offset: int) -> Tensor:
    """Return multiples of 1/16 from -1/2 to 1/2, which are exact in fp32; each offset gives another sequence."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 7 + offset * 5) % 17 - 8).div(16).reshape(shape)


def stored_tensors(model: AdaptedModel) -> dict[str, Tensor]:
    """Return the golden store's tensors of this adapter, by name."""
    shapes = {name: tuple(parameter.shape) for name, parameter in model.adapter_tensors().items()}
    tensors = {name: fill(shape, offset) for offset, (name, shape) in enumerate(sorted(shapes.items()))}
    places = [name.removesuffix(".A") for name in shapes if name.endswith(".experts.A")]
    return tensors | {std_name(place): fill(shapes[f"{place}.A"], 3).abs() for place in places}


def write(folder: Path) -> None:
    """Write the base model, the store and the answers into a new folder."""
    small: dict[str, Any] = {
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    tokenizer = train_tokenizer(start_token=False)
    save_tiny_base(folder / "base", tokenizer=tokenizer, initializer_range=0.4, tie_word_embeddings=True, **small)
    base = load_base_model(str(folder / "base"), device="cpu", dtype="float32")
    tensors = stored_tensors(add_adapter(base, ADAPTER, SCORING))
    registry = Registry(folder / "store")
    draft = make_draft(
        "tiny",
        base=base.identity.model_copy(update={"name": "tiny-base", "revision": "main-1"}),
        adapter=ADAPTER,
        scoring=SCORING,
        posterior=GaussianConfig(samples=3, seed=7),
        calibration=FeuTemperatureCalibration(
            level=0.125, feu_slope=1.5, options_slope=-0.25, feu_center=0.625, questions=50, nll_before=0.875,
            nll_after=0.8125, at_bound=False,
        ),
        scores_after=make_scores(auroc_epistemic=0.5625),
        scores_untrained=make_scores(accuracy=0.25, auroc_feu=None, ece_feu=None, mean_feu=None),
        decisions=DECISIONS,
        provenance=make_provenance(recipe={"note": "größer", "weight_decay": 0.30000000000000004, "resume": None}),
    )  # fmt: skip
    registry.publish(draft, tensors, {"report.md": REPORT}, promote=True)
    registry.promote("tiny", 1, "canary")
    (folder / "store" / "tiny" / ".lock").unlink()
    (folder / "answers.json").write_text(json.dumps(answers(folder), indent=2) + "\n")


def answers(folder: Path) -> list[dict[str, Any]]:
    """Return a golden store's answers to the questions, on its own base model."""
    base = load_base_model(str(folder / "base"), device="cpu", dtype="float32")
    predictor = predictor_on_base(Registry(folder / "store").load("tiny"), base)
    return [asdict(answer) for answer in predictor.answer([predictor.encode(question) for question in QUESTIONS])]


if __name__ == "__main__":
    write(GOLDEN / f"format_{FORMAT_VERSION}")
