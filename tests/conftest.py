"""What every room's tests share: a tiny base model in a folder, adapters on it, and one of them in a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast

from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.identity import BaseIdentity
from uq4ct.model_store.base.models import BaseModel, load_base_model
from uq4ct.model_store.calibrations import TemperatureCalibration
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.storage.manifest import (
    BatchCompany,
    Decisions,
    Interval,
    Manifest,
    ManifestDraft,
    Provenance,
    ReferenceHistograms,
    Scores,
    Splits,
)
from uq4ct.model_store.storage.registry import Registry

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

MakeFolder = Callable[..., Path]
MakeModel = Callable[..., AdaptedModel]


def _train_tokenizer(*, start_token: bool) -> PreTrainedTokenizerFast:
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


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on a few lines, without a start token."""
    return _train_tokenizer(start_token=False)


@pytest.fixture(scope="session")
def starting_tokenizer() -> PreTrainedTokenizerFast:
    """The same tokenizer with a start token before every text."""
    return _train_tokenizer(start_token=True)


@pytest.fixture(scope="session")
def make_base_folder(tiny_tokenizer: PreTrainedTokenizerFast) -> MakeFolder:
    """Save a tiny base model into a folder; the seed, the family and single settings may differ."""

    def make(
        folder: Path,
        *,
        family: type[PretrainedConfig] = LlamaConfig,
        seed: int = 0,
        tokenizer: Any = None,
        **changes: Any,
    ) -> Path:
        tokenizer = tokenizer or tiny_tokenizer
        config = family(**{**TINY, "vocab_size": len(tokenizer), **changes})
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, make_base_folder: MakeFolder) -> Path:
    """A folder with a tiny Llama; tests only read it."""
    return make_base_folder(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture
def tiny_base(tiny_folder: Path) -> BaseModel:
    """The tiny Llama, loaded anew, since adapters are injected in place."""
    return load_base_model(str(tiny_folder), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Put an adapter with random weights, B included, on a base; in evaluation mode unless asked otherwise."""

    def make(
        base: BaseModel,
        scoring: LetterConfig | ClozeConfig | None = None,
        *,
        adapter: str = "default",
        tuner: Any = None,
        seed: int = 1,
        training: bool = False,
        **config: Any,
    ) -> AdaptedModel:
        settings = AdapterConfig(**{"experts": 4, "rank": 2, "alpha": 4.0, "dropout": 0.0, **config})
        model = add_adapter(base, settings, scoring or ClozeConfig(), adapter=adapter, tuner=tuner)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.adapter_tensors().values():
                if parameter.dim() == 2:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        return model.train(training)

    return make


@pytest.fixture(scope="session")
def questions() -> list[Question]:
    """Four questions of unequal length, with 2 to 5 options."""
    return [
        Question("q0", "What colour is the sky?", ("blue", "red at dusk", "white")),
        Question("q1", "Which of these animals lays eggs and cannot fly at all?", ("the dog", "the penguin")),
        Question("q2", "12 + 22?", ("34", "12", "567", "1", "none of these"), context="Sums of small numbers."),
        Question("q3", "Which letter?", ("B", "A", "Z", "Q")),
    ]


@dataclass(frozen=True)
class PublishedTiny:
    """A tiny adapter in a store: the reference to load it by, its base's folder and the model it was stored from."""

    registry: Registry
    manifest: Manifest
    base_folder: Path
    model: AdaptedModel

    @property
    def reference(self) -> str:
        return self.manifest.reference


def _scores() -> Scores:
    interval = Interval(low=0.0, high=1.0)
    return Scores(
        questions=4,
        accuracy=0.5,
        accuracy_interval=interval,
        ece=0.1,
        ece_interval=interval,
        ece_noise_floor=0.1,
        ece_noise_floor_p95=0.2,
        debiased_calibration_error=0.0,
        nll=1.0,
        nll_interval=Interval(low=0.5, high=1.5),
        brier=0.5,
        brier_interval=interval,
        auroc_confidence=0.5,
        auroc_feu=0.5,
        auroc_epistemic=None,
        auroc_error_score=None,
        ece_feu=0.1,
        mean_feu=0.6,
        area_under_risk_coverage=0.4,
    )


@pytest.fixture(scope="session")
def make_tiny_draft() -> Callable[..., ManifestDraft]:
    """The record of an adapter on a given base, with the given fields changed."""

    def make(base: BaseIdentity, *, name: str = "tiny", **changes: Any) -> ManifestDraft:
        fields: dict[str, Any] = {
            "method": "uq4ct",
            "dtype": "float32",
            "adapter": AdapterConfig(experts=4, rank=2, alpha=4.0, dropout=0.0),
            "scoring": ClozeConfig(),
            "posterior": PointConfig(),
            "calibration": TemperatureCalibration(value=1.7, questions=4, nll_before=1.1, nll_after=1.0),
            "scores_before": None,
            "scores_after": _scores(),
            "scores_untrained": None,
            "reference_histograms": ReferenceHistograms(
                bins=2, questions=4, confidence=(1, 3), feu=(2, 2), accuracy=0.5, ece=0.1
            ),
            "reference_curve": None,
            "decisions": Decisions(sets=None, abstention=None, tested=None),
            "batch_company": BatchCompany(
                dtype="float32", questions=4, largest_probability_change=0.0, changed_option_share=0.0
            ),
            "provenance": Provenance(
                recipe={},
                code_commit=None,
                seed=0,
                splits=Splits(train=4, fit=4, guarantee=4, test=4),
                data_digest="none",
            ),
        }
        return ManifestDraft(name=name, base=base, **{**fields, **changes})

    return make


@pytest.fixture(scope="session")
def publish_tiny_in(
    tiny_folder: Path, make_model: MakeModel, make_tiny_draft: Callable[..., ManifestDraft]
) -> Callable[..., PublishedTiny]:
    """Put an adapter with random weights on the tiny base and store it in a folder; the configuration may differ."""

    def publish(
        root: Path, name: str = "tiny", *, scoring: Any = None, seed: int = 1, adapter: Any = None, **changes: Any
    ) -> PublishedTiny:
        registry = Registry(root)
        base = load_base_model(str(tiny_folder), device="cpu", dtype="float32")
        model = make_model(base, scoring, seed=seed, **(adapter or {}))
        draft = make_tiny_draft(
            base.identity, name=name, adapter=model.config, scoring=scoring or ClozeConfig(), **changes
        )
        manifest = registry.publish(draft, model.adapter_tensors(), {}, promote=False)
        return PublishedTiny(registry, manifest, tiny_folder, model)

    return publish


@pytest.fixture
def publish_tiny(tmp_path: Path, publish_tiny_in: Callable[..., PublishedTiny]) -> Callable[..., PublishedTiny]:
    """The same, into a store of the test's own."""
    return partial(publish_tiny_in, tmp_path / "store")


@pytest.fixture
def published_tiny(publish_tiny: Callable[..., PublishedTiny]) -> PublishedTiny:
    """One tiny published adapter."""
    return publish_tiny()
