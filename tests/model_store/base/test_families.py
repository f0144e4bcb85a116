"""Every family: questions read together are those read alone, adapters reach every linear, and nothing else changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from tests.model_store.base.families import EVERY_KIND, FAMILIES, FAMILY, Family
from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.models import BaseModel, load_base_model
from uq4ct.model_store.questions import LABELS, Question
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.model_store.token_batch import TokenBatch, collate

CASES = [
    pytest.param(family, id=family.name, marks=[] if family.name in EVERY_KIND else [pytest.mark.slow])
    for family in FAMILIES
]
SCORINGS = [ClozeConfig(), LetterConfig()]


@pytest.fixture
def load(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> Any:
    def load(family: Family) -> BaseModel:
        return load_base_model(str(family.save(tmp_path, tiny_tokenizer)), device="cpu", dtype="float32")

    return load


def batch_of(model: AdaptedModel, questions: list[Question], **kwargs: Any) -> TokenBatch:
    return collate([model.scorer.encode(question) for question in questions], **kwargs)


def unchanged(place: str, bank: nn.Module, *arguments: Any) -> Any:
    """A bank call that only delegates; it gets rows with pads."""
    return bank(*arguments)


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Compare logits to 1e-5 of the largest of them, or of 1."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * max(1.0, expected.abs().max().item()))


@pytest.mark.parametrize("family", CASES)
def test_the_layout_is_found_out(family: Family, load: Any) -> None:
    reading = load(family).reading
    assert reading.layout == family.layout
    found = reading.differences[family.layout]
    assert isinstance(found, float)
    assert found < 1e-5
    assert f"reads questions {family.layout}" in reading.describe()


@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda scoring: scoring.kind)
@pytest.mark.parametrize("family", CASES)
def test_questions_together_are_those_alone(
    family: Family, scoring: Any, load: Any, make_model: Any, questions: list[Question]
) -> None:
    """Packed, padded on either side, and alone; logits and FEU."""
    model = make_model(load(family), scoring)
    with torch.no_grad():
        together = [model(batch_of(model, questions))]
        together += [model(batch_of(model, questions, padding_side=side), unchanged) for side in ("left", "right")]
        alone = [model(batch_of(model, [question])) for question in questions]
    for output in together:
        for row, question in enumerate(questions):
            count = len(question.options)
            assert_close(output.logits[row, :count], alone[row].logits[0])
            torch.testing.assert_close(output.feu[row], alone[row].feu[0], rtol=0, atol=1e-6)
        assert len(output.routing) == 2


@pytest.mark.parametrize("family", CASES)
def test_without_an_adapter_the_model_is_transformers_own(
    family: Family, load: Any, questions: list[Question], tmp_path: Path
) -> None:
    base = load(family)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    encoder = TextEncoder(base.tokenizer)
    cloze = add_adapter(base, AdapterConfig(), ClozeConfig(reduction="sum"), adapter="cloze")
    letter = add_adapter(base, AdapterConfig(), LetterConfig(), adapter="letter", tuner=cloze.tuner)
    with torch.no_grad():
        found = [model(batch_of(model, questions)).logits for model in (cloze, letter)]
        for row, question in enumerate(questions):
            expected = likelihoods(plain, encoder, question), letters(plain, encoder, question)
            for ours, theirs in zip(found, expected, strict=True):
                assert_close(ours[row, : len(question.options)], theirs)


def prompt_of(question: Question) -> str:
    return (f"{question.context}\n" if question.context else "") + f"Question: {question.text}"


def likelihoods(plain: Any, encoder: TextEncoder, question: Question) -> Tensor:
    """Return the log-likelihood of each option after the question, by the plain model."""
    prefix = encoder.encode(f"{prompt_of(question)}\nAnswer:").ids
    found = []
    for option in question.options:
        whole = encoder.encode(f"{prompt_of(question)}\nAnswer: {option}").ids
        logs = plain(torch.tensor([whole]), use_cache=False).logits[0].log_softmax(dim=-1)
        found.append(sum(logs[place - 1, whole[place]] for place in range(len(prefix), len(whole))))
    return torch.stack(found)


def letters(plain: Any, encoder: TextEncoder, question: Question) -> Tensor:
    """Return the logits of the options' letters, by the plain model."""
    lines = "".join(f"\n{label}. {option}" for label, option in zip(LABELS, question.options, strict=False))
    prompt = encoder.encode(f"{prompt_of(question)}{lines}\nAnswer:").ids
    (first,) = {tuple(encoder.encode("\nAnswer:", with_start=False).ids)}
    ids = [encoder.encode(f"\nAnswer: {label}", with_start=False).ids[len(first)] for label in LABELS]
    return plain(torch.tensor([prompt]), use_cache=False).logits[0, -1, ids[: len(question.options)]]


@pytest.mark.parametrize("family", CASES)
def test_every_linear_learns(family: Family, load: Any, make_model: Any, questions: list[Question]) -> None:
    """Gradients reach every weight of the adapter, so no linear is passed by; the routers', too."""
    model = make_model(load(family), training=True, targets=("all",))
    names = {name for name in model.adapter_tensors() if not name.startswith("scoring.")}
    output = model(batch_of(model, questions))
    (output.logits.logsumexp(dim=1).sum() + output.feu.sum()).backward()
    for name in names:
        gradient = model.adapter_tensors()[name].grad
        assert gradient is not None, name
        assert bool(gradient.isfinite().all()), name
        assert bool((gradient != 0).any()), name
    assert sum(name.endswith(".router.weight") for name in names) == 2
    assert any(re.search(r"\.(mlp|feed_forward|shared_mlp)\.", name) for name in names) is family.feed_forward


@pytest.mark.parametrize("family", CASES)
def test_a_block_of_experts_has_the_families_own_linears(
    family: Family, load: Any, make_model: Any, questions: list[Question]
) -> None:
    block = {"placement": "block", "mixing": "renormalised", "targets": ("feed_forward",)}
    if not family.feed_forward:
        with pytest.raises(ValueError, match=r"targets \['feed_forward'\] match no linear"):
            make_model(load(family), **block)
        return
    model = make_model(load(family), **block)
    with torch.no_grad():
        together = model(batch_of(model, questions))
        alone = [model(batch_of(model, [question])) for question in questions]
    for row, question in enumerate(questions):
        expected = alone[row].logits[0]
        assert_close(together.logits[row, : len(question.options)], expected)
    assert together.routing is not None


def test_a_forced_packing_of_a_recurrent_model_is_wrong(load: Any, make_model: Any, questions: list[Question]) -> None:
    """What the self-check prevents: without an error, options read the ones before them."""
    base = load(FAMILY["qwen3_5_text"])
    differences = base.reading.differences
    assert min(float(differences["packed"]), float(differences["padded"])) > 0.1
    model = make_model(base)
    right = model(batch_of(model, questions)).logits
    base.model.set_attn_implementation("grouped_sdpa")
    model.tuner.layout = "packed"
    wrong = model(batch_of(model, questions)).logits
    finite = right.isfinite()
    assert (right - wrong)[finite].abs().max() > 0.1
