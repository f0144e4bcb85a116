"""One base model in memory and the stored adapters that answer on it side by side."""

from __future__ import annotations

from model_store.adapters.tuner import MixtureTuner
from model_store.base_models import BaseModel
from model_store.candidate_model import add_adapter
from model_store.predictor import PublishedPredictor, check_base, fill_model
from model_store.storage.checkpoint import StoredAdapter


class AdapterHost:
    """A base model and its adapters. `add` and `remove` change the module tree: never while a forward runs on it."""

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self._tuner: MixtureTuner | None = None
        self._names: dict[PublishedPredictor, str] = {}  # in the module tree

    def add(self, stored: StoredAdapter) -> PublishedPredictor:
        """Put a stored adapter beside those that are there; each answers as if it were alone.

        Raises:
            WrongBaseError: it was trained on another base model.
            ValueError: its weights do not fit its manifest, or that version is there already. Nothing is left behind.
        """
        manifest = stored.manifest
        check_base(manifest, self.base)
        name = manifest.reference.replace(".", ":")  # a dot would part two modules; no reference has a colon
        model = add_adapter(self.base, manifest.adapter, manifest.scoring, adapter=name, tuner=self._tuner)
        self._tuner = model.tuner
        try:
            predictor = fill_model(model, stored)
        except Exception:
            model.tuner.remove(name)
            raise
        self._names[predictor] = name
        return predictor

    def remove(self, predictor: PublishedPredictor) -> None:
        """Free an adapter's weights; the predictor must not be asked any more.

        Raises:
            KeyError: it is not one of this host's.
        """
        predictor.predictor.model.tuner.remove(self._names.pop(predictor))
