"""From questions to answers: computes confidence, FEU and entropies, for the service and for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.answers import Answer
from uq4ct.model_store.calibrations import Calibration, NoCalibration
from uq4ct.model_store.posteriors import CandidateSamples, Posterior
from uq4ct.model_store.questions import Question
from uq4ct.model_store.token_batch import EncodedQuestion, collate

NO_CALIBRATION = NoCalibration()


def answers_from_samples(samples: CandidateSamples, options: Sequence[int], calibration: Calibration) -> list[Answer]:
    """Turn S sets of logits [S, B, C] into answers; `options` [B] is the number of options of each question.

    Probabilities, not logits, are averaged over the samples.
    """
    probabilities, parts = calibration.apply(samples)
    single = samples.logits.shape[0] == 1
    feu = [None] * len(options) if samples.feu is None else samples.feu.tolist()
    error_score = [None] * len(options) if samples.error_score is None else samples.error_score.tolist()
    rows = zip(
        probabilities.tolist(),
        options,
        feu,
        parts.total.tolist(),
        parts.aleatoric.tolist(),
        parts.epistemic.tolist(),
        error_score,
        strict=True,
    )
    answers = []
    for row, count, row_feu, total, aleatoric, epistemic, row_error in rows:
        own = tuple(row[:count])
        option = max(range(count), key=own.__getitem__)
        split = (None, None) if single else (aleatoric, epistemic)
        answers.append(Answer(option, own[option], own, row_feu, total, *split, row_error))
    return answers


def score_batch(model: AdaptedModel, posterior: Posterior, encoded: Sequence[EncodedQuestion]) -> CandidateSamples:
    """Return uncalibrated logits [S, B, C] and FEU [B] of one batch, on the CPU; does not change the model."""
    return posterior.candidate_samples(model, collate(encoded)).on_cpu()


class Predictor:
    """An adapted model, its posterior and its calibration."""

    def __init__(self, model: AdaptedModel, posterior: Posterior, calibration: Calibration = NO_CALIBRATION) -> None:
        model.freeze()
        posterior.place(model.device, model.dtype)
        self._model = model
        self._posterior = posterior
        self._calibration = calibration

    @property
    def model(self) -> AdaptedModel:
        """The adapted model."""
        return self._model

    @property
    def posterior(self) -> Posterior:
        """The posterior."""
        return self._posterior

    @property
    def calibration(self) -> Calibration:
        """The calibration."""
        return self._calibration

    @property
    def token_limit(self) -> int:
        """The maximum length of a question with its options, in tokens."""
        return self._model.scorer.token_limit

    @property
    def memory_bytes(self) -> int:
        """Memory of the adapter and its posterior without the base model, in bytes."""
        own = sum(parameter.nbytes for parameter in self._model.adapter_tensors().values())
        return own + self._posterior.memory_bytes

    def encode(self, question: Question) -> EncodedQuestion:
        """Tokenise a question; safe to call from several threads.

        Raises:
            QuestionTooLongError: the question is longer than the limit.
        """
        return self._model.scorer.encode(question)

    def candidate_samples(self, encoded: Sequence[EncodedQuestion]) -> CandidateSamples:
        """Return uncalibrated logits [S, B, C] and FEU [B] of one batch, on the CPU."""
        return score_batch(self._model, self._posterior, encoded)

    def answer(self, encoded: Sequence[EncodedQuestion]) -> list[Answer]:
        """Answer one batch, in order, in one forward."""
        samples = self.candidate_samples(encoded)
        return answers_from_samples(samples, [question.options for question in encoded], self._calibration)


def batches_by_length(encoded: Sequence[EncodedQuestion], batch_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of questions in batches of similar length, at most `batch_tokens` tokens each with padding.

    A question longer than that gets its own batch. Pads count although most forwards skip them, because forwards with
    gradients or noise do not. As the questions are sorted by length, pads are a few percent of a batch.
    """
    batch: list[int] = []
    for index in sorted(range(len(encoded)), key=lambda i: encoded[i].length):
        if batch and (len(batch) + 1) * encoded[index].length > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def score_in_batches(
    score: Callable[[Sequence[EncodedQuestion]], CandidateSamples],
    encoded: Sequence[EncodedQuestion],
    batch_tokens: int,
    advance: Callable[[int], None] = lambda _: None,
) -> CandidateSamples:
    """Return uncalibrated logits [S, B, C] and FEU [B] of any number of questions, in their order.

    With `batch_tokens` 1, every question is its own batch; `advance` is called with the size of each finished batch.
    """
    done: list[tuple[list[int], CandidateSamples]] = []
    for batch in batches_by_length(encoded, batch_tokens):
        done.append((batch, score([encoded[index] for index in batch])))
        advance(len(batch))
    order = torch.tensor([index for batch, _ in done for index in batch]).argsort()
    width = max(question.options for question in encoded)
    logits = [F.pad(part.logits, (0, width - part.logits.shape[2]), value=-torch.inf) for _, part in done]
    feu = [part.feu for _, part in done if part.feu is not None]
    error_score = [part.error_score for _, part in done if part.error_score is not None]
    return CandidateSamples(
        torch.cat(logits, dim=1)[:, order],
        torch.cat(feu)[order] if feu else None,
        torch.cat(error_score)[order] if error_score else None,
    )
