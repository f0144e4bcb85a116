"""Stored adapters that answer questions: one alone, or several on one base model in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from uq4ct.model_store.adapted_model import AdapterParts, build_frozen
from uq4ct.model_store.adapters.tuner import MixtureTuner
from uq4ct.model_store.answers import Answer
from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.base.recorded import default_base_folders, load_recorded_base
from uq4ct.model_store.posteriors import Posterior, adapter_tensors
from uq4ct.model_store.predictor import Predictor, batches_by_length
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring import build_scorer
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.model_store.shared_batches import answer_together, company_of
from uq4ct.model_store.storage.checkpoint import StoredAdapter
from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry, default_store_dir
from uq4ct.model_store.threads import computing_with
from uq4ct.model_store.token_batch import EncodedQuestion

BATCH_TOKENS = 4096  # default of `ask_all`, padding included


class WrongBaseError(StoreError):
    """The base model is not the one that the stored adapter was trained on."""


class PublishedPredictor:
    """A stored adapter that answers questions; `manifest` is its record, with its scores and its provenance."""

    def __init__(self, manifest: Manifest, predictor: Predictor) -> None:
        self.manifest = manifest
        self.predictor = predictor

    @property
    def token_limit(self) -> int:
        """The maximum length of a question with its options, in tokens."""
        return self.predictor.token_limit

    @property
    def passes(self) -> int:
        """The cost of a question, in rows of a forward."""
        return self.manifest.posterior.passes

    @property
    def company(self) -> str | None:
        """Adapters of a host with the same company can answer one batch; None: only alone."""
        return company_of(self.predictor)

    @property
    def memory_bytes(self) -> int:
        """Memory of the adapter and its posterior without the base model, in bytes."""
        return self.predictor.memory_bytes

    def ask(self, question: Question) -> Answer:
        """Answer one question.

        Raises:
            QuestionTooLongError: the question is longer than `token_limit`.
            QuestionError: the tokenizer merges the start of an option with the text before it.
        """
        return self.answer([self.encode(question)])[0]

    def ask_all(self, questions: Iterable[Question], *, batch_tokens: int = BATCH_TOKENS) -> list[Answer]:
        """Answer any number of questions, in their order, in batches of similar length.

        Args:
            batch_tokens: maximum tokens per batch; a larger batch is faster and takes more memory.

        Raises:
            QuestionTooLongError, QuestionError: as `ask`, raised before any question is answered.
        """
        encoded = [self.encode(question) for question in questions]
        answers: dict[int, Answer] = {}
        for batch in batches_by_length(encoded, batch_tokens):
            answers.update(zip(batch, self.answer([encoded[index] for index in batch]), strict=True))
        return [answers[index] for index in range(len(encoded))]

    def encode(self, question: Question) -> EncodedQuestion:
        """Tokenise a question; see `Predictor.encode`."""
        return self.predictor.encode(question)

    def answer(self, encoded: Sequence[EncodedQuestion]) -> list[Answer]:
        """Answer one batch; see `Predictor.answer`."""
        return self.predictor.answer(encoded)

    def answer_with(
        self,
        encoded: Sequence[EncodedQuestion],
        others: Sequence[tuple[PublishedPredictor, Sequence[EncodedQuestion]]],
    ) -> list[list[Answer]]:
        """Answer one batch with those of other adapters of the host, in one forward; see `answer_together`."""
        return answer_together([(self.predictor, encoded), *((one.predictor, asked) for one, asked in others)])


def load_predictor(
    reference: str,
    store: Path | str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    base_cache: Path | None = None,
    base_folders: Sequence[Path | str] | None = None,
) -> PublishedPredictor:
    """Load a stored adapter and the base model that its manifest names.

    Args:
        reference: `name` (its production version), `name@3` or `name@alias`.
        store: the directory of the store; None = the environment variable UQ4CT_MODEL_STORE_DIR, else
            `model_store/artifacts/adapters` in the working directory.
        device: `cpu`, `cuda` or another device of PyTorch; `auto` = CUDA if available, else the CPU.
        dtype: `float32`, `bfloat16` or `float16`; `auto` = bf16 where the device is fast in it, else fp32.
        base_cache: the directory of fetched base models; None = the environment variable UQ4CT_BASE_CACHE_DIR, else
            `model_store/artifacts/base_models` in the working directory.
        base_folders: folders to find the base model in, by its digest; None = the environment variable
            UQ4CT_BASE_FOLDERS. Without any, the base model is looked up by its recorded name.

    Raises:
        StoreError: the store does not exist, or the adapter is unknown, damaged, of a newer format or for another base.
        BaseModelError: the base model cannot be loaded.
    """
    root = default_store_dir() if store is None else Path(store)
    if not root.is_dir():
        raise StoreError(f"no model store at {root.absolute()}; pass its directory or set UQ4CT_MODEL_STORE_DIR")
    stored = Registry(root).load(reference)
    folders = default_base_folders() if base_folders is None else [Path(folder) for folder in base_folders]
    base = load_base_of(stored.manifest, device=device, dtype=dtype, base_cache=base_cache, base_folders=folders)
    return predictor_on_base(stored, base)


def load_base_of(
    manifest: Manifest,
    *,
    device: str = "auto",
    dtype: str = "auto",
    base_cache: Path | None = None,
    base_folders: Sequence[Path] = (),
) -> BaseModel:
    """Load the base model of a manifest: the one of `base_folders` with its digest, or the one with its name.

    The digest of a base model that was looked up by name is checked only when the adapter is added.

    Raises:
        BaseModelError: the base model is not found or cannot be loaded.
    """
    return load_recorded_base(manifest.base, folders=base_folders, device=device, dtype=dtype, cache_dir=base_cache)


def predictor_on_base(stored: StoredAdapter, base: BaseModel) -> PublishedPredictor:
    """Add a stored adapter to a loaded base model.

    Raises:
        WrongBaseError: the base model's digest differs from that of the base the adapter was trained on.
        ValueError: the weights do not fit what the manifest describes.
    """
    return AdapterHost(base).add(stored)


def check_base(manifest: Manifest, base: BaseModel) -> None:
    """Reject an adapter that was trained on another base model.

    Raises:
        WrongBaseError: the digests differ.
    """
    if base.identity.digest != manifest.base.digest:
        raise WrongBaseError(
            f"{manifest.reference} was trained on {manifest.base.name} with digest {manifest.base.digest}, "
            f"but the loaded {base.identity.name} has digest {base.identity.digest}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class PreparedAdapter:
    """A stored adapter in memory, not yet on a base model."""

    manifest: Manifest
    parts: AdapterParts
    posterior: Posterior

    @property
    def memory_bytes(self) -> int:
        """Memory of the adapter and its posterior, in bytes."""
        return sum(weight.nbytes for weight in self.parts.tensors().values()) + self.posterior.memory_bytes


class AdapterHost:
    """A base model and its adapters, which share its tokenizer.

    Do not call `attach`, `add` or `remove` during a forward: they change the module tree.

    Raises:
        TokenizerError: the base model's tokenizer cannot be used.
    """

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self._encoder = TextEncoder(base.tokenizer)
        self._tuner = MixtureTuner(base.model, base.layout)
        self._names: dict[PublishedPredictor, str] = {}  # in the module tree

    def prepare(self, stored: StoredAdapter) -> PreparedAdapter:
        """Do all the work for an adapter that does not change the base model; for any thread, also during a forward.

        It computes in that thread alone, see `computing_with`.

        Raises:
            WrongBaseError: the adapter was trained on another base model.
            ValueError: its weights do not fit its manifest.
        """
        manifest, tensors = stored.manifest, stored.tensors
        check_base(manifest, self.base)
        with computing_with(threads=1):
            scorer = build_scorer(manifest.scoring, self._encoder, self.base.window)
            parts = build_frozen(self._tuner, manifest.adapter, scorer, adapter_tensors(tensors))
            posterior = manifest.posterior.build(tensors)
            posterior.place(self.base.model.device, self.base.model.dtype)
        return PreparedAdapter(manifest, parts, posterior)

    def attach(self, prepared: PreparedAdapter) -> PublishedPredictor:
        """Put a prepared adapter beside the loaded ones; each answers as if it were alone.

        Raises:
            ValueError: that version is already loaded; then nothing changes.
        """
        manifest = prepared.manifest
        name = manifest.reference.replace(".", ":")  # a dot would separate two modules; no reference has a colon
        model = prepared.parts.attach(self._tuner, name)
        predictor = PublishedPredictor(manifest, Predictor(model, prepared.posterior, manifest.calibration))
        self._names[predictor] = name
        return predictor

    def add(self, stored: StoredAdapter) -> PublishedPredictor:
        """Prepare and attach a stored adapter; raises what they raise, and then nothing is added."""
        return self.attach(self.prepare(stored))

    def remove(self, predictor: PublishedPredictor) -> None:
        """Free an adapter's weights; the predictor must not be used afterwards.

        Raises:
            KeyError: the predictor does not belong to this host.
        """
        self._tuner.remove(self._names.pop(predictor))
