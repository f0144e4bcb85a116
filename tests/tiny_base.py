"""A language model of a few thousand weights, with a tokenizer, saved as a base model's folder."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKER = "<tool_call>"  # an added token that is not declared special, as in Qwen's tokenizers
TEXT = """Question: Which of these animals lays eggs and cannot fly at all?
A. the small brown dog
B. the large white penguin
Answer: the large white penguin
Answer: A B C D E F G H I J K L M N O P Q R S T U V W X Y Z
Question: What colour is the sky on a clear day? Answer: blue, and red at dusk. 12 34 567
"""
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,  # wide enough that options differ
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}


def train_tokenizer(*, start_token: bool) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on a few lines; with `start_token`, a start token precedes every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    tokenizer.add_tokens([AddedToken(MARKER, special=False, normalized=False)])
    if start_token:
        start = SPECIAL_TOKENS[0]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL_TOKENS[0],
        eos_token=SPECIAL_TOKENS[2],
        pad_token=SPECIAL_TOKENS[2],
    )


def with_template(tokenizer: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    """Return a copy that adds the special tokens of a template to a text."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    special = [(token, backend.token_to_id(token)) for token in SPECIAL_TOKENS]
    adding = processors.TemplateProcessing(single=template, special_tokens=special)
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), adding])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=SPECIAL_TOKENS[0], eos_token=SPECIAL_TOKENS[2], pad_token=SPECIAL_TOKENS[2]
    )


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of characters with one more token, `: b`: it merges an option's start with the colon before it."""
    vocabulary = {character: index for index, character in enumerate([*string.printable, " b", ": b"])}
    model = models.BPE(vocab=vocabulary, merges=[(" ", "b"), (":", " b")], unk_token="?")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), unk_token="?", pad_token="?", eos_token="?")


def save_tiny_base(
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerFast,
    family: type[PretrainedConfig] = LlamaConfig,
    seed: int = 0,
    **changes: Any,
) -> Path:
    """Save a base model with random weights; the seed, the family and single settings may differ."""
    config = family(**{**TINY, "vocab_size": len(tokenizer), **changes})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
