"""The answer to a question: computed by `predictor.py`, recorded and shown by the service. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question.

    `probabilities` are in the order of the options and add up to 1; `confidence` is the chosen option's probability;
    `feu` is the routers' score of equation 9, high = confident, None without routers; `total`, `aleatoric` and
    `epistemic` are entropies in nats, the last two None with a single sample, which cannot separate them; `error_score`
    is the posterior's own, high = likely wrong, None if it has none.
    """

    option: int
    confidence: float
    probabilities: tuple[float, ...]
    feu: float | None
    total: float
    aleatoric: float | None
    epistemic: float | None
    error_score: float | None = None
