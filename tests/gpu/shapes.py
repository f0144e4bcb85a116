"""Base models of known shapes: the embedded one with its own weights, others with random ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from tests.gpu.parts import Setting, is_installed
from uq4ct.model_store.base.identity import EMBEDDED, EMBEDDED_DISTRIBUTION, BaseIdentity
from uq4ct.model_store.base.models import BaseModel, load_base_model, resolve_dtype
from uq4ct.model_store.base.self_check import choose_reading
from uq4ct.model_store.questions import Question
from uq4ct.training.data import facts

START = "<|endoftext|>"
TOKENS = 2000  # of the tokenizer that goes with random weights; no shape has fewer


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Llama; with `tied`, the embeddings are also the head."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool = True

    def config(self) -> LlamaConfig:
        """Return the configuration; weights have unit gain, so that options get different likelihoods."""
        return LlamaConfig(
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            vocab_size=self.vocabulary,
            max_position_embeddings=2048,
            tie_word_embeddings=self.tied,
            initializer_range=self.hidden**-0.5,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )

    @property
    def parameters(self) -> int:
        """The number of weights in all matrices."""
        attention = self.hidden * self.hidden * 2 * (self.heads + self.key_value_heads) // self.heads
        layer = attention + 3 * self.hidden * self.intermediate
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tiny", 64, 160, 3, 4, 2, 2048),
        Shape(EMBEDDED, 576, 1536, 30, 9, 3, 49152),
        Shape("llama-1b", 2048, 8192, 16, 32, 8, 128256),
        Shape("llama-7b", 4096, 11008, 32, 32, 32, 32000, tied=False),
    )
}


@dataclass(frozen=True, slots=True)
class PlacedBase:
    """A base model that `load_base_model` finds by `name`."""

    name: str
    own_weights: bool

    def load(self, device: torch.device, dtype: str) -> BaseModel:
        """Load the model on a device."""
        disable_progress_bar()
        return load_base_model(self.name, device=str(device), dtype=dtype)


@cache
def placed_base(setting: Setting) -> PlacedBase:
    """Return the base model of the agreement checks: on disk, since a server and every dtype load the same one."""
    if setting.shape == EMBEDDED and is_installed(EMBEDDED_DISTRIBUTION) and is_installed("gguf"):
        return PlacedBase(EMBEDDED, own_weights=True)
    folder = setting.folder / setting.shape
    # Weights that are exact in bf16, so that fp32 and bf16 have the same ones.
    model = random_model(SHAPES[setting.shape], torch.device("cpu"), torch.float32).to(torch.bfloat16)  # pyright: ignore[reportArgumentType]
    disable_progress_bar()
    model.save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return PlacedBase(str(folder), own_weights=False)


def random_base(shape: Shape, device: torch.device, dtype: str) -> BaseModel:
    """Return a frozen base model that is created on the device and never on disk."""
    model = random_model(shape, device, resolve_dtype(dtype, device))
    identity = BaseIdentity(name=shape.name, revision=None, digest=f"sha256:{'0' * 64}", model_type="llama")
    return BaseModel(model, small_tokenizer(), identity, choose_reading(model, shape.name))


def random_model(shape: Shape, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """Return a model of a shape with random weights, the same at each call."""
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(shape.config(), dtype=dtype)
    return model.eval().requires_grad_(False)


@cache
def quiz() -> tuple[Question, ...]:
    """Return the questions of every check."""
    return facts.build().test


@cache
def small_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on the quiz."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=[START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (f"Question: {question.text}\nAnswer: {' '.join(question.options)}" for question in quiz())
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=START, pad_token=START)
