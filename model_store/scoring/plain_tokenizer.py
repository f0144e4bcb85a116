"""A base model's tokenizer that reads all text as plain text and adds nothing but a start token before it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from uq4ct.model_store.base.errors import one_line
from uq4ct.model_store.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE = "What is 2 + 2?"


class TokenizerError(UserError, ValueError):
    """A tokenizer that cannot be used for scoring; the message names what is not supported."""


def plain_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Return a copy without padding and truncation that reads `<|im_end|>` in a text as ten characters.

    With special tokens it puts the model's start token, if it has one, before a text, once. Tokens that the template
    adds after a text are left out: scores are read there.

    Raises:
        TokenizerError: the tokenizer has no fast (Rust) backend or cannot read English, or its template adds several
            different tokens before a text or changes the text's own tokens.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TokenizerError(f"{type(tokenizer).__name__} has no fast backend (a tokenizer.json is needed)")
    record = json.loads(backend.to_str())
    for token in record["added_tokens"]:
        token["special"] = True  # `<tool_call>` and similar tokens are markers too, although not declared special
    plain = _build(record)
    before, after = _template_tokens(plain)
    if len(before) > 1 or after:
        record["post_processor"] = _start_processor(record["post_processor"], plain, before[:1])
        plain = _build(record)
    return plain


def _build(record: Mapping[str, Any]) -> Tokenizer:
    plain = Tokenizer.from_str(json.dumps(record))
    plain.no_padding()
    plain.no_truncation()
    plain.encode_special_tokens = True
    return plain


def _template_tokens(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """Return the tokens that the template adds before and after a text."""
    try:
        text, whole = tokenizer.encode(_PROBE, add_special_tokens=False), tokenizer.encode(_PROBE)
    except Exception as error:  # the backend raises no class of its own
        raise TokenizerError(f"the tokenizer cannot read {_PROBE!r}: {one_line(error)}") from error
    if not text.ids:
        raise TokenizerError(f"the tokenizer has no tokens for {_PROBE!r}")
    first = whole.special_tokens_mask.index(0)
    end = first + len(text.ids)
    before, after = whole.tokens[:first], whole.tokens[end:]
    if whole.ids[first:end] != text.ids or not all(whole.special_tokens_mask[end:]):
        raise TokenizerError(f"the tokenizer's template puts tokens into a text: {_PROBE!r} becomes {whole.tokens}")
    if len(set(before)) > 1:
        raise TokenizerError(
            f"the tokenizer's template adds {len(before)} tokens before a text, {', '.join(map(repr, before))}: only a "
            "single start token is supported"
        )
    return before, after


def _start_processor(processor: Mapping[str, Any], tokenizer: Tokenizer, start: list[str]) -> dict[str, Any]:
    """Return a post-processor that adds `start` and, like the given one, trims the offsets of byte-level tokens."""
    template = {
        "type": "TemplateProcessing",
        "single": [*({"SpecialToken": {"id": token, "type_id": 0}} for token in start), _sequence("A", 0)],
        "pair": [_sequence("A", 0), _sequence("B", 1)],
        "special_tokens": {
            token: {"id": token, "ids": [tokenizer.token_to_id(token)], "tokens": [token]} for token in start
        },
    }
    trimming = [one for one in _processors(processor) if one["type"] == "ByteLevel"]
    return {"type": "Sequence", "processors": [*trimming, template]}


def _sequence(name: str, type_id: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": type_id}}


def _processors(processor: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if processor["type"] != "Sequence":
        yield processor
        return
    for inner in processor["processors"]:
        yield from _processors(inner)
