"""Adapter, base and scoring together: FEU by hand, gradients, stored weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from uq4ct.model_store.adapters.context import adapter_forward
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.model_store.scoring.letter import LetterScorer
from uq4ct.model_store.token_batch import collate

SCORINGS = [LetterConfig(), ClozeConfig()]


def _batch(model, questions, **kwargs):
    return collate([model.scorer.encode(question) for question in questions], **kwargs)


def _masses(model, tokens):
    """The two largest router probabilities of each token, summed [L, T], from the norms' own outputs."""
    layers = model.tuner.model.get_decoder().layers
    seen = {}
    hooks = [
        layer.input_layernorm.register_forward_hook(lambda _, __, output, index=index: seen.update({index: output[0]}))
        for index, layer in enumerate(layers)
    ]
    with torch.no_grad(), adapter_forward(model.adapter):
        model.tuner.model(torch.tensor([tokens]), use_cache=False)
    for hook in hooks:
        hook.remove()
    masses = []
    for index, layer in enumerate(layers):
        logits = seen[index] @ layer.self_attn.routed_input.routers[model.adapter].weight.T
        shares = torch.exp(logits) / torch.exp(logits).sum(dim=1, keepdim=True)
        masses.append(shares.sort(dim=1, descending=True).values[:, :2].sum(dim=1))
    return torch.stack(masses).detach()


def _feu_by_hand(model, tokenizer, question, feu_tokens):
    encoder = TextEncoder(tokenizer)
    context = f"{question.context}\n" if question.context else ""
    head = f"{context}Question: {question.text}"
    if isinstance(model.scorer, LetterScorer):
        lines = "".join(f"\n{label}. {option}" for label, option in zip("ABCDE", question.options, strict=False))
        masses = _masses(model, encoder.encode(f"{head}{lines}\nAnswer:").ids)
        first, last = len(encoder.encode(head).ids), len(encoder.encode("\nAnswer:").ids)
        if feu_tokens == "prompt":
            masses = torch.cat([masses[:, :first], masses[:, -last:]], dim=1)
        return float(masses.mean())
    prefix = encoder.encode(f"{head}\nAnswer:").ids
    masses = [_masses(model, prefix)]
    if feu_tokens == "prompt_and_options":
        for option in question.options:
            whole = encoder.encode(f"{head}\nAnswer: {option}").ids
            masses.append(_masses(model, whole)[:, len(prefix) :])
    return float(torch.cat(masses, dim=1).mean())


@pytest.mark.parametrize("feu_tokens", ["prompt", "prompt_and_options"])
@pytest.mark.parametrize("mixing", ["raw", "renormalised"])
@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda scoring: scoring.kind)
def test_feu_is_the_mean_kept_mass_by_hand(tiny_base, make_model, questions, scoring, mixing, feu_tokens):
    model = make_model(tiny_base, scoring, mixing=mixing, feu_tokens=feu_tokens)
    with torch.no_grad():
        output = model(_batch(model, questions))
    by_hand = [_feu_by_hand(model, tiny_base.tokenizer, question, feu_tokens) for question in questions]
    assert output.feu.tolist() == pytest.approx(by_hand, abs=1e-6)
    assert max(by_hand) - min(by_hand) > 1e-3
    assert all(0.5 <= feu <= 1 for feu in by_hand)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda scoring: scoring.kind)
def test_neither_padding_nor_company_changes_feu(tiny_base, make_model, questions, scoring, side):
    model = make_model(tiny_base, scoring, feu_tokens="prompt_and_options")
    with torch.no_grad():
        together = model(_batch(model, questions, padding_side=side)).feu
        alone = torch.cat([model(_batch(model, [question])).feu for question in questions])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mixing", ["raw", "renormalised"])
def test_the_calibration_loss_reaches_every_router(tiny_base, make_model, questions, mixing):
    model = make_model(tiny_base, mixing=mixing, training=True)
    (1 - model(_batch(model, questions)).feu).square().sum().backward()
    routers = {name: weight.grad for name, weight in model.adapter_tensors().items() if ".router." in name}
    assert len(routers) == 2
    for name, gradient in routers.items():
        assert gradient is not None, name
        assert bool((gradient.abs().sum(dim=1) > 0).all()), name


def test_the_options_do_not_change_the_feu_of_the_prompt(tiny_base, make_model, questions):
    model = make_model(tiny_base, feu_tokens="prompt")
    shuffled = [type(q)(q.id, q.text, ("something", "else"), q.context) for q in questions]
    with torch.no_grad():
        one, other = (model(_batch(model, asked)).feu for asked in (questions, shuffled))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_without_routers_there_is_no_feu(tiny_base, make_model, questions):
    model = make_model(tiny_base, experts=1, top_k=1)
    output = model(_batch(model, questions))
    assert output.feu is None
    assert output.routing is None
    assert output.logits.shape == (4, 5)


@pytest.mark.parametrize("scoring", SCORINGS, ids=lambda scoring: scoring.kind)
def test_stored_weights_give_the_same_bits(tiny_folder, tmp_path, make_model, questions, scoring):
    def fresh(seed):
        return make_model(load_base_model(str(tiny_folder), device="cpu", dtype="float32"), scoring, seed=seed)

    first, second = fresh(1), fresh(2)
    batch = _batch(first, questions)
    with torch.no_grad():
        if isinstance(scoring, ClozeConfig):
            first.scorer.log_scale.fill_(0.3)
        expected, different = first(batch), second(batch)
        save_file({name: p.detach() for name, p in first.adapter_tensors().items()}, tmp_path / "a.safetensors")
        second.load_adapter_tensors(load_file(tmp_path / "a.safetensors"))
        found = second(batch)
    assert not torch.equal(expected.logits, different.logits)
    assert torch.equal(expected.logits, found.logits)
    assert torch.equal(expected.feu, found.feu)


def test_weights_are_named_by_their_place_and_not_by_the_adapter(tiny_base, make_model):
    first = make_model(tiny_base, adapter="a")
    second = make_model(tiny_base, adapter="b", tuner=first.tuner)
    assert set(first.adapter_tensors()) == set(second.adapter_tensors())
    names = {name for name in first.adapter_tensors() if ".layers.1.self_attn.q_proj" in name}
    assert names == {"model.layers.1.self_attn.q_proj.experts.A", "model.layers.1.self_attn.q_proj.experts.B"}
    assert "model.layers.1.input_layernorm.router.weight" in first.adapter_tensors()
    assert "scoring.log_scale" in first.adapter_tensors()


def test_weights_that_do_not_fit_are_named_and_change_nothing(tiny_base, make_model):
    model = make_model(tiny_base)
    good = {name: torch.zeros_like(parameter) for name, parameter in model.adapter_tensors().items()}
    before = {name: parameter.clone() for name, parameter in model.adapter_tensors().items()}
    place = "model.layers.0.self_attn.q_proj.experts.A"
    missing = {name: tensor for name, tensor in good.items() if name != place}
    for tensors, message in (
        (missing, f"1 names differ, first {place}"),
        ({**good, "zzz": torch.zeros(1)}, "1 names differ, first zzz"),
        ({**good, place: torch.zeros(8, 31)}, rf"stored weight {place} has shape \(8, 31\), expected \(8, 32\)"),
        (
            {**good, "scoring.log_scale": torch.zeros(1)},
            r"stored weight scoring.log_scale has shape \(1,\), expected \(\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            model.load_adapter_tensors(tensors)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.adapter_tensors().items())


def test_freezing_stops_gradients_and_casts_experts_but_not_routers(tiny_folder, make_model):
    model = make_model(load_base_model(str(tiny_folder), device="cpu", dtype="bfloat16"), training=True)
    assert {p.dtype for p in model.adapter_tensors().values()} == {torch.float32}
    model.freeze()
    assert not any(module.training for module in model.modules())
    for name, parameter in model.adapter_tensors().items():
        assert not parameter.requires_grad
        assert parameter.dtype == (torch.bfloat16 if ".experts." in name else torch.float32), name


def test_logits_are_fp32_whatever_the_base_computes_in(tiny_folder, make_model, questions):
    model = make_model(load_base_model(str(tiny_folder), device="cpu", dtype="bfloat16"))
    output = model(_batch(model, questions))
    assert output.logits.dtype == torch.float32
    assert {routing.kept_mass.dtype for routing in output.routing} == {torch.float32}
