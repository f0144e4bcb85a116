"""A block of experts against a loop over whole feed-forward blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaMLP

from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import BLOCK_TARGETS, LINEAR_TARGETS, AdapterConfig
from uq4ct.model_store.adapters.context import adapter_forward
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.expert_block import ClosingBank, OpeningBank, build_bank
from uq4ct.model_store.adapters.layers import AdaptedLinear
from uq4ct.model_store.adapters.router import Router
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.token_batch import collate

BLOCK: dict[str, Any] = {"placement": "block", "mixing": "renormalised"}
TOKENS = torch.tensor([[5, 30, 77, 120, 8, 300], [9, 9, 41, 250, 3, 17]])


def _adapted_mlp(config: AdapterConfig, hidden: int, width: int, activation: str) -> LlamaMLP:
    """A feed-forward block with biases whose linears have random experts, in float64."""
    sizes: dict[str, Any] = {
        "hidden_size": hidden,
        "intermediate_size": width,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
    }
    shape = LlamaConfig(**sizes, head_dim=2, hidden_act=activation, mlp_bias=True)
    mlp = LlamaMLP(shape).requires_grad_(False)
    for name in BLOCK_TARGETS:
        linear = AdaptedLinear(getattr(mlp, name), f"layers.0.mlp.{name}.experts", 0)
        linear.banks["default"] = build_bank(
            linear.base_layer.in_features,
            linear.base_layer.out_features,
            config,
            in_block=True,
            closing=name == "down_proj",
        )
        nn.init.normal_(linear.get_parameter("banks.default.B"))
        setattr(mlp, name, linear)
    return mlp.double()


def _run(mlp: nn.Module, router: Router, hidden: Tensor) -> Tensor:
    with adapter_forward("default") as context:
        context.routing[0] = router(hidden)
        return mlp(hidden)


def _one_block_after_the_other(mlp: Any, router: Router, hidden: Tensor, scale: float) -> Tensor:
    """Run each token through the whole block of each kept expert; weigh the outputs by renormalised mass."""

    def linear(name: str, expert: int, inputs: Tensor) -> Tensor:
        adapted = getattr(mlp, name)
        bank = adapted.banks["default"]
        rows = slice(expert * bank.rank, (expert + 1) * bank.rank)
        return adapted.base_layer(inputs) + scale * (bank.B[:, rows] @ (bank.A[rows] @ inputs))

    outputs = []
    for token in hidden:
        masses = torch.softmax(router.weight @ token, dim=0)
        kept = sorted(range(len(masses)), key=masses.detach().tolist().__getitem__, reverse=True)[: router.top_k]
        total = sum(masses[n] for n in kept)
        blocks = [
            linear("down_proj", n, mlp.act_fn(linear("gate_proj", n, token)) * linear("up_proj", n, token))
            for n in kept
        ]
        outputs.append(sum(masses[n] / total * block for n, block in zip(kept, blocks, strict=True)))
    return torch.stack(outputs)


@settings(max_examples=25, deadline=None)
@given(
    experts=st.integers(2, 6),
    data=st.data(),
    hidden=st.integers(1, 6),
    width=st.integers(1, 7),
    rank=st.integers(1, 3),
    tokens=st.integers(1, 4),
    activation=st.sampled_from(["silu", "gelu_pytorch_tanh"]),
)
def test_a_block_equals_a_loop_over_whole_experts_forward_and_backward(
    experts: int, data: st.DataObject, hidden: int, width: int, rank: int, tokens: int, activation: str
) -> None:
    top_k = data.draw(st.integers(1, experts))
    torch.manual_seed(data.draw(st.integers(0, 2**16)))
    config = AdapterConfig(experts=experts, top_k=top_k, rank=rank, alpha=1.5 * rank, dropout=0.0, **BLOCK)
    mlp = _adapted_mlp(config, hidden, width, activation)
    router = Router(hidden, experts, top_k, "renormalised").double()
    nn.init.normal_(router.weight)
    inputs = torch.randn(2, tokens, hidden, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, tokens, hidden, dtype=torch.float64)
    leaves = [inputs, router.weight, *(p for p in mlp.parameters() if p.requires_grad)]
    assert len(leaves) == 2 + 2 * len(BLOCK_TARGETS)

    ours = _run(mlp, router, inputs)
    loop = _one_block_after_the_other(mlp, router, inputs.flatten(0, 1), 1.5).view_as(inputs)

    torch.testing.assert_close(ours, loop, rtol=0, atol=1e-10)
    for mine, theirs in zip(
        torch.autograd.grad((ours * weights).sum(), leaves, allow_unused=True, materialize_grads=True),
        torch.autograd.grad((loop * weights).sum(), leaves, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_the_base_linears_run_once_whatever_k_is() -> None:
    config = AdapterConfig(experts=4, top_k=3, rank=2, **BLOCK)
    mlp = _adapted_mlp(config, 4, 6, "silu")
    rows = []
    for name in BLOCK_TARGETS:
        getattr(mlp, name).base_layer.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[:-1]))
    _run(mlp, Router(4, 4, 3, "renormalised").double(), torch.randn(2, 5, 4, dtype=torch.float64))
    assert rows == [(2, 5)] * 3


def test_dropout_acts_on_the_adapters_inputs_alone() -> None:
    """With B at zero, dropout has no effect; otherwise the seed decides."""
    config = AdapterConfig(experts=3, top_k=2, rank=2, dropout=0.5, **BLOCK)
    mlp, router = _adapted_mlp(config, 6, 8, "silu"), Router(6, 3, 2, "renormalised").double()
    hidden = torch.randn(2, 4, 6, dtype=torch.float64)
    assert not torch.allclose(_run(mlp, router, hidden), _run(mlp, router, hidden))
    still = _run(mlp.eval(), router, hidden)
    assert torch.equal(_run(mlp, router, hidden), still)
    for name in BLOCK_TARGETS:
        nn.init.zeros_(getattr(mlp, name).banks["default"].B)
    torch.testing.assert_close(_run(mlp.train(), router, hidden), mlp(hidden))


@pytest.mark.parametrize("family", [LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config])
def test_an_injected_block_is_that_of_the_loop(family, tmp_path, make_base_folder, make_model) -> None:
    """The router reads the block's own input in every family, and attention has plain LoRA."""
    base = load_base_model(str(make_base_folder(tmp_path, family=family)), device="cpu", dtype="float32")
    model = make_model(base, **BLOCK).to(torch.float64)
    layer: Any = base.model.get_submodule("model.layers.1")
    seen: dict[str, Tensor] = {}
    layer.mlp.register_forward_hook(lambda _, inputs, output: seen.update(hidden=inputs[0], output=output))
    with torch.no_grad(), adapter_forward("default") as context:
        base.model.get_decoder()(TOKENS, use_cache=False)
        router = layer.mlp.routed_input.routers["default"]
        loop = _one_block_after_the_other(layer.mlp, router, seen["hidden"].flatten(0, 1), model.config.scale)
    torch.testing.assert_close(seen["output"].flatten(0, 1), loop, rtol=0, atol=1e-10)
    assert sorted(context.routing) == [0, 1]
    kinds = {name: type(module) for name, module in layer.named_modules() if isinstance(module, ExpertBank)}
    assert kinds.pop("mlp.down_proj.banks.default") is ClosingBank
    assert {kinds.pop(f"mlp.{name}_proj.banks.default") for name in ("gate", "up")} == {OpeningBank}
    assert set(kinds.values()) == {ExpertBank}
    assert layer.self_attn.q_proj.banks["default"].experts == 1


def test_a_fresh_block_changes_nothing(tiny_base) -> None:
    decoder = tiny_base.model.get_decoder()
    with torch.no_grad():
        before = decoder(TOKENS, use_cache=False).last_hidden_state
        add_adapter(tiny_base, AdapterConfig(rank=2, **BLOCK), ClozeConfig()).eval()
        with adapter_forward("default"):
            after = decoder(TOKENS, use_cache=False).last_hidden_state
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)  # the base's outputs are weighed and added up again


def test_a_block_is_stored_by_the_names_of_its_linears_and_trained_whole(tiny_base, make_model, questions) -> None:
    model = make_model(tiny_base, training=True, **BLOCK)
    weights = model.adapter_tensors()
    shapes = {name: tuple(parameter.shape) for name, parameter in weights.items() if name.startswith("model.layers.0")}
    place = "model.layers.0"
    assert len(shapes) == 2 * len(LINEAR_TARGETS) + 1
    assert shapes[f"{place}.post_attention_layernorm.router.weight"] == (4, 32)
    assert shapes[f"{place}.mlp.gate_proj.experts.A"] == (8, 32)
    assert shapes[f"{place}.mlp.down_proj.experts.A"] == (8, 48)
    assert shapes[f"{place}.mlp.down_proj.experts.B"] == (32, 8)
    assert shapes[f"{place}.self_attn.q_proj.experts.A"] == (2, 32)  # one expert
    output = model(collate([model.scorer.encode(question) for question in questions]))
    assert output.feu is not None
    assert bool(((output.feu >= 0.5) & (output.feu <= 1)).all())
    assert len(output.routing) == 2
    (torch.logsumexp(output.logits, dim=1).sum() + output.feu.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in weights.values())


def test_placements_live_side_by_side_and_leave_without_a_trace(tiny_folder, make_model) -> None:
    def base():
        return load_base_model(str(tiny_folder), device="cpu", dtype="float32")

    def hidden(model, adapter=None):
        decoder = model.tuner.model.get_decoder()
        with torch.no_grad():
            if adapter is None:
                return decoder(TOKENS, use_cache=False).last_hidden_state
            with adapter_forward(adapter):
                return decoder(TOKENS, use_cache=False).last_hidden_state

    kinds: dict[str, dict[str, Any]] = {"block": BLOCK, "layer": {}, "plain": {"experts": 1, "top_k": 1}}
    alone = {name: hidden(make_model(base(), adapter=name, **kind), name) for name, kind in kinds.items()}
    for order in (["block", "layer", "plain"], ["plain", "layer", "block"]):
        shared, model = base(), None
        for name in order:
            tuner = None if model is None else model.tuner
            model = make_model(shared, adapter=name, tuner=tuner, **kinds[name])
        assert model is not None
        untouched = hidden(model)
        assert all(torch.equal(hidden(model, name), expected) for name, expected in alone.items())
        model.tuner.remove("block")
        assert torch.equal(hidden(model, "layer"), alone["layer"])
        assert torch.equal(hidden(model, "block"), untouched)


def test_a_frozen_block_answers_in_half_precision_with_its_router_in_fp32(tiny_folder, make_model, questions) -> None:
    base = load_base_model(str(tiny_folder), device="cpu", dtype="bfloat16")
    model = make_model(base, **BLOCK)
    model.freeze()
    dtypes = {name: parameter.dtype for name, parameter in model.adapter_tensors().items()}
    assert {dtype for name, dtype in dtypes.items() if ".experts." in name} == {torch.bfloat16}
    assert {dtype for name, dtype in dtypes.items() if ".router." in name} == {torch.float32}
    with torch.no_grad():
        output = model(collate([model.scorer.encode(question) for question in questions]))
    assert output.logits.dtype == torch.float32
    assert torch.isfinite(output.logits[output.logits > -torch.inf]).all()
