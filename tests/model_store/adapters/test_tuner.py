"""Adapters injected into a real (tiny) model."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from peft import LoraConfig, LoraModel
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, MistralConfig, Qwen2Config

from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import LINEAR_TARGETS, AdapterConfig
from uq4ct.model_store.adapters.context import adapter_forward, current_forward
from uq4ct.model_store.adapters.places import LinearPlace
from uq4ct.model_store.adapters.tuner import MixtureTuner
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.token_batch import collate

TOKENS = torch.tensor([[5, 30, 77, 120, 8, 300], [9, 9, 41, 250, 3, 17]])


def _hidden(base, adapter=None):
    """The final hidden states, through an adapter or through the base alone."""
    with torch.no_grad():
        if adapter is None:
            return base.model.get_decoder()(TOKENS, use_cache=False).last_hidden_state
        with adapter_forward(adapter):
            return base.model.get_decoder()(TOKENS, use_cache=False).last_hidden_state


def _trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("family", [LlamaConfig, MistralConfig, Qwen2Config])
def test_without_a_context_the_base_model_is_untouched(family, tmp_path, make_base_folder, make_model):
    base = load_base_model(str(make_base_folder(tmp_path, family=family)), device="cpu", dtype="float32")
    before = _hidden(base)
    make_model(base)
    assert torch.equal(_hidden(base), before)
    assert (_hidden(base, "default") - before).abs().max() > 0.1
    assert torch.equal(_hidden(base), before)


def test_a_fresh_adapter_changes_nothing(tiny_base):
    before = _hidden(tiny_base)
    add_adapter(tiny_base, AdapterConfig(rank=2), ClozeConfig()).eval()
    assert torch.equal(_hidden(tiny_base, "default"), before)


@pytest.mark.parametrize("family", [LlamaConfig, Qwen2Config])
def test_one_expert_without_router_is_lora(family, tmp_path, make_base_folder, make_model):
    folder = str(make_base_folder(tmp_path, family=family))
    ours, theirs = (load_base_model(folder, device="cpu", dtype="float32") for _ in range(2))
    model = make_model(ours, experts=1, top_k=1, rank=3, alpha=5.0)
    lora = LoraConfig(r=3, lora_alpha=5, lora_dropout=0.0, target_modules=list(LINEAR_TARGETS), bias="none")
    reference = LoraModel(theirs.model, lora, "default").eval()
    weights = model.adapter_tensors()
    assert not any("router" in name for name in weights)
    for name, parameter in reference.named_parameters():
        if ".lora_" in name:
            place, _, rest = name.removeprefix("model.").partition(".lora_")
            with torch.no_grad():
                parameter.copy_(weights[f"{place}.experts.{rest[0]}"])
    with torch.no_grad():
        expected = reference(TOKENS, use_cache=False, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(_hidden(ours, "default"), expected, rtol=0, atol=1e-5)


def test_several_adapters_answer_as_each_does_alone(tiny_folder, make_model):
    def base():
        return load_base_model(str(tiny_folder), device="cpu", dtype="float32")

    alone = {}
    for seed, name in ((1, "a"), (2, "b")):
        single = base()
        make_model(single, adapter=name, seed=seed, experts=seed * 2)
        alone[name] = _hidden(single, name)
    shared = base()
    first = make_model(shared, adapter="a", seed=1, experts=2)
    make_model(shared, adapter="b", tuner=first.tuner, seed=2, experts=4)
    for name in ("a", "b", "a"):
        assert torch.equal(_hidden(shared, name), alone[name])
    assert not torch.allclose(alone["a"], alone["b"])


def test_two_threads_run_two_adapters_at_once(tiny_base, make_model):
    make_model(tiny_base, adapter="b", tuner=make_model(tiny_base, adapter="a", seed=1).tuner, seed=2)
    expected = {name: _hidden(tiny_base, name) for name in ("a", "b")} | {None: _hidden(tiny_base)}
    barrier = threading.Barrier(3)

    def meet(*_):
        barrier.wait(timeout=20)  # every forward waits inside its first layer until all three are there

    hook = tiny_base.model.get_decoder().layers[0].input_layernorm.register_forward_hook(meet)

    def run(adapter):
        return [_hidden(tiny_base, adapter) for _ in range(5)]

    with ThreadPoolExecutor(3) as pool:
        futures = {adapter: pool.submit(run, adapter) for adapter in expected}
        for adapter, future in futures.items():
            assert all(torch.equal(hidden, expected[adapter]) for hidden in future.result())
    hook.remove()
    assert current_forward() is None


def test_the_context_is_left_when_a_forward_fails():
    with pytest.raises(RuntimeError, match="inside"), adapter_forward("a"):
        raise RuntimeError("inside")
    assert current_forward() is None


def test_all_weights_are_stored_moved_and_trained_and_nothing_else(tiny_base, make_model, questions):
    model = make_model(tiny_base, training=True)
    weights = model.adapter_tensors()
    layers, linears = 2, len(LINEAR_TARGETS)
    assert len(weights) == layers * (2 * linears + 1) + 1  # A and B, a router a layer, and the scale of the scoring
    state = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert all(parameter.data_ptr() in state for parameter in weights.values())
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert trainable == {id(parameter) for parameter in weights.values()}

    optimiser = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    output = model(collate([model.scorer.encode(question) for question in questions]))
    (torch.logsumexp(output.logits, dim=1).sum() + output.feu.sum()).backward()
    optimiser.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) not in trainable), name

    model.to(torch.float64)
    assert {parameter.dtype for parameter in model.adapter_tensors().values()} == {torch.float64}
    model.to("meta")
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}


def test_the_letters_move_with_the_model(tiny_base, make_model):
    model = make_model(tiny_base, LetterConfig())
    assert model.scorer.letter_ids.device == model.device
    assert model.to("meta").scorer.letter_ids.device.type == "meta"


def test_each_added_adapter_can_be_trained_and_leaves_the_others_gradients_alone(tiny_base, make_model):
    first = make_model(tiny_base, adapter="a")
    first.freeze()
    second = make_model(tiny_base, adapter="b", tuner=first.tuner)
    assert {p.requires_grad for p in first.adapter_tensors().values()} == {False}
    assert {p.requires_grad for p in second.adapter_tensors().values()} == {True}
    trainable = _trainable(first.tuner)
    third = make_model(tiny_base, adapter="c", tuner=first.tuner)
    third.tuner.remove("c")
    assert _trainable(first.tuner) == trainable


def test_removing_an_adapter_restores_the_base_and_frees_the_name(tiny_base, make_model):
    before, places = _hidden(tiny_base), {name.replace(".base_layer", "") for name in tiny_base.model.state_dict()}
    tuner = make_model(tiny_base, adapter="a", seed=1).tuner
    make_model(tiny_base, adapter="b", tuner=tuner, seed=2)
    second = _hidden(tiny_base, "b")
    tuner.remove("a")
    assert torch.equal(_hidden(tiny_base, "b"), second)
    assert torch.equal(_hidden(tiny_base, "a"), before)
    tuner.remove("b")
    assert torch.equal(_hidden(tiny_base), before)
    assert {name.replace(".base_layer", "") for name in tiny_base.model.state_dict()} == places
    make_model(tiny_base, adapter="b", tuner=tuner, seed=2)
    assert torch.equal(_hidden(tiny_base, "b"), second)


def test_an_unknown_adapter_cannot_be_removed(tiny_base, make_model):
    tuner = make_model(tiny_base).tuner
    with pytest.raises(ValueError, match="no adapter named 'other'"):
        tuner.remove("other")


def test_what_cannot_be_injected_is_said_before_anything_changes(tiny_base):
    modules = [name for name, _ in tiny_base.model.named_modules()]
    with pytest.raises(ValueError, match=r"targets \['c_attn'\] match no linear .* 'q_proj'"):
        MixtureTuner(tiny_base.model, "packed").add("a", AdapterConfig(targets=("q_proj", "c_attn")))
    with pytest.raises(ValueError, match=r"targets \['lm_head'\]"):  # outside the layers, where no router is
        MixtureTuner(tiny_base.model, "packed").add("a", AdapterConfig(targets=("lm_head",)))
    assert [name for name, _ in tiny_base.model.named_modules()] == modules


def test_memory_that_ends_in_the_middle_of_an_injection_leaves_nothing_behind(tiny_base, make_model, monkeypatch):
    """The second adapter can be tried again as soon as there is room."""
    tuner = make_model(tiny_base).tuner
    before, places = _hidden(tiny_base, "default"), set(tiny_base.model.state_dict())
    calls = []
    original = LinearPlace.inject

    def inject(self):
        calls.append(self.stored_name)
        if len(calls) == 3:
            raise torch.OutOfMemoryError
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(LinearPlace, "inject", inject)
        with pytest.raises(torch.OutOfMemoryError):
            make_model(tiny_base, adapter="b", tuner=tuner)
    assert set(tiny_base.model.state_dict()) == places
    assert torch.equal(_hidden(tiny_base, "default"), before)
    make_model(tiny_base, adapter="b", tuner=tuner)


def test_a_name_is_taken_whichever_tuner_took_it(tiny_base, make_model):
    model = make_model(tiny_base)
    before = _hidden(tiny_base, "default")
    for tuner in (model.tuner, None):
        with pytest.raises(ValueError, match="an adapter named 'default' is already injected"):
            add_adapter(tiny_base, AdapterConfig(), ClozeConfig(), tuner=tuner)
    assert torch.equal(_hidden(tiny_base, "default"), before)


def test_recomputed_activations_count_a_layer_once(tiny_base, make_model):
    model = make_model(tiny_base, training=True)
    embedded = torch.randn(1, 4, 32, requires_grad=True)
    norm = tiny_base.model.get_decoder().layers[1].input_layernorm
    attention = tiny_base.model.get_decoder().layers[1].self_attn
    runs = []
    norm.register_forward_hook(lambda *_: runs.append(1))

    def layer_of(hidden):
        read = norm(hidden)
        attention.routed_input.read(attention, (read,), {})
        return attention.q_proj(read)

    def gradients(run):
        with adapter_forward("default") as context:
            output = run(layer_of)
            mass = context.routing[1].kept_mass.detach().clone()
            weights = [embedded, *(p for p in model.parameters() if p.requires_grad)]
            found = torch.autograd.grad(output.square().sum(), weights, allow_unused=True)
        assert list(context.routing) == [1]
        torch.testing.assert_close(context.routing[1].kept_mass, mass)
        return found

    plain = gradients(lambda layer: layer(embedded))
    assert len(runs) == 1
    recomputed = gradients(lambda layer: checkpoint(layer, embedded, use_reentrant=False))
    assert len(runs) == 3
    assert sum(gradient is not None for gradient in plain) == 4  # input, A, B, router
    for one, other in zip(plain, recomputed, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)
