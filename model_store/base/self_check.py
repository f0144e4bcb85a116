"""How a base model can read several questions at once: found out on its own weights, with a few tokens."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from uq4ct.model_store.base.attention import GROUPED_ATTENTION
from uq4ct.model_store.base.errors import BaseModelError, one_line
from uq4ct.model_store.base.head import head_of
from uq4ct.model_store.base.identity import LayoutName
from uq4ct.model_store.base.layouts import Layout, pack, pad, run_decoder, spread
from uq4ct.model_store.token_batch import EncodedQuestion, TokenBatch, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Largest relative difference of a token's final state from that of the text read alone. Reading other questions, or
# not reading the own one, changes a state by a multiple of these.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
_SHOWN_CHARACTERS = 100  # of an error
_SHAPES = ((6, (3, 2)), (3, (1, 4, 2)))  # shared tokens, and those of each option


@dataclass(frozen=True, slots=True)
class Reading:
    """How a base model reads questions.

    `layout` is the first of `packed` (one row without pads), `padded` (one row a question) and `rows` (one row an
    option) that gives the states of texts read alone; `differences` are the relative differences of those tried, or
    what went wrong.
    """

    layout: LayoutName
    differences: dict[LayoutName, float | str]

    def describe(self) -> str:
        """Return the choice in words, for a log."""
        tried = ", ".join(
            f"{name} {found if isinstance(found, str) else format(found, '.1e')}"
            for name, found in self.differences.items()
        )
        return f"reads questions {self.layout} (difference from texts read alone: {tried})"


@torch.inference_mode()
def choose_reading(model: PreTrainedModel, name: str) -> Reading:
    """Find out how a base model reads several questions, and set its attention accordingly.

    Raises:
        BaseModelError: no layout gives the states of texts read alone, the head's logits are not the model's, or the
            model has no layers with linears.
    """
    _check_layers(model, name)
    own_attention = str(model.config._attn_implementation)
    batch = collate([_question(model, shared, options) for shared, options in _SHAPES])
    alone = _alone(model, batch)
    _check_head(model, name, batch)
    differences: dict[LayoutName, float | str] = {}
    attempts: tuple[tuple[LayoutName, tuple[Layout, ...], str], ...] = (
        ("packed", (pack(batch), pad(batch)), GROUPED_ATTENTION),
        ("padded", (pad(batch),), GROUPED_ATTENTION),
        ("rows", (spread(batch),), own_attention),
    )
    for layout, layouts, attention in attempts:
        try:
            model.set_attn_implementation(attention)
            found = max(_difference(model, one, alone) for one in layouts)
        except Exception as error:  # whatever a family raises on arguments that it does not know
            differences[layout] = one_line(error)[:_SHOWN_CHARACTERS]
            continue
        differences[layout] = found
        if found <= TOLERANCES[model.dtype]:
            return Reading(layout, differences)
    tried = "; ".join(f"{layout}: {found}" for layout, found in differences.items())
    raise BaseModelError(
        f"base model {name!r} cannot be used: read together, questions differ from the same questions alone ({tried}; "
        f"allowed is {TOLERANCES[model.dtype]})"
    )


def _check_layers(model: PreTrainedModel, name: str) -> None:
    decoder = model.get_decoder()
    layers = decoder._modules.get("layers")
    if not isinstance(layers, nn.ModuleList) or not any(isinstance(one, nn.Linear) for one in layers.modules()):
        raise BaseModelError(
            f"base model {name!r} has no list of layers with linears: adapters have no place in "
            f"{type(decoder).__name__}"
        )


def _question(model: PreTrainedModel, shared: int, options: Sequence[int]) -> EncodedQuestion:
    """Return a question of random tokens."""
    draw = random.Random(f"{shared}/{options}")
    length = shared + sum(options)
    vocabulary = model.config.get_text_config().vocab_size
    return EncodedQuestion(
        tokens=tuple(draw.randrange(vocabulary) for _ in range(length)),
        positions=(*range(shared), *(shared + place for count in options for place in range(count))),
        branches=(0,) * shared + tuple(branch for branch, count in enumerate(options, 1) for _ in range(count)),
        is_option=(False,) * shared + (True,) * (length - shared),
        options=len(options),
    )


def _texts(batch: TokenBatch) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the tokens of each question with one option, and which of them are new: those not yielded before."""
    for tokens, branches, options in zip(batch.tokens, batch.branches, batch.options.tolist(), strict=True):
        for option in range(1, options + 1):
            columns = ((branches == 0) | (branches == option)).nonzero().squeeze(1)
            yield tokens[columns], (branches[columns] == option) | (option == 1)


def _alone(model: PreTrainedModel, batch: TokenBatch) -> Tensor:
    """Return the final state [N, d] of each real token, each text read by itself as transformers reads it."""
    parts = []
    for text, new in _texts(batch):
        states = model.get_decoder()(text.unsqueeze(0).to(model.device), use_cache=False).last_hidden_state[0]
        parts.append(states[new.to(model.device)])
    return torch.cat(parts)


def _difference(model: PreTrainedModel, layout: Layout, alone: Tensor) -> float:
    placed = layout.to(model.device)
    states = run_decoder(model, placed).flatten(0, 1)[placed.kept]
    return _relative(states, alone)


def _check_head(model: PreTrainedModel, name: str, batch: TokenBatch) -> None:
    """Compare the logits of a text with the model's own: some families scale or bound them."""
    text, _ = next(_texts(batch))
    tokens = text.unsqueeze(0).to(model.device)
    states = model.get_decoder()(tokens, use_cache=False).last_hidden_state
    difference = _relative(head_of(model).logits(states), model(tokens, use_cache=False).logits)
    if not difference <= TOLERANCES[model.dtype]:
        raise BaseModelError(
            f"base model {name!r} cannot be used: its logits are not those of its head (relative difference "
            f"{difference:.2g})"
        )


def _relative(found: Tensor, expected: Tensor) -> float:
    """Return the largest relative difference of rows; infinite where a value is not finite."""
    distance = (found.double() - expected.double()).norm(dim=-1) / expected.double().norm(dim=-1)
    return distance.nan_to_num(nan=float("inf"), posinf=float("inf")).max().item()
