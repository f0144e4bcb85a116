"""Answers in this process, without a service; needs the extra `predict`."""

from uq4ct.model_store.predictor import Answer
from uq4ct.model_store.published import PublishedPredictor, load_predictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry

__all__ = ["Answer", "PublishedPredictor", "Question", "Registry", "load_predictor"]
