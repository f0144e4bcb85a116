"""Answers in this process, without a service; needs the extra `predict`.

`load_predictor("quickstart").ask(Question("1", "What is 2 + 2?", ("3", "4")))` returns an `Answer`. Errors are
`QuestionError` and `QuestionTooLongError` (the question), `StoreError` (the adapter) and `BaseModelError`.
"""

from uq4ct.model_store.answers import Answer
from uq4ct.model_store.base.errors import BaseModelError
from uq4ct.model_store.published import PublishedPredictor, load_predictor
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.storage.registry import Registry

__all__ = [
    "Answer",
    "BaseModelError",
    "PublishedPredictor",
    "Question",
    "QuestionError",
    "QuestionTooLongError",
    "Registry",
    "StoreError",
    "load_predictor",
]
