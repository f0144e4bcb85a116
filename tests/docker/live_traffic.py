"""Send questions and labels to two replicas, and compute from the ledger what the rules should record."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from uq4ct.client import Ask, Client, Label
from uq4ct.model_store.uncertainty.bins import BINS, bin_of
from uq4ct.model_store.uncertainty.calibration_error import expected_calibration_error
from uq4ct.service.client.records import FeedbackReceipt, Prediction
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.export import export_lines

BATCH = 50
TASKS = ("quiz", "other")
OPTIONS = ("blue", "red at dusk", "white", "none of these")


def send_traffic(clients: Sequence[Client], batches: int, seed: int) -> int:
    """Send batches by each client in turn, label 19 in 20 answers by the next; return the number of labels.

    An answer is right less often than its confidence says, so that there is miscalibration to detect.
    """
    chance = random.Random(seed)
    taken = 0
    for number in range(batches):
        asked = [_ask(chance, number) for _ in range(BATCH)]
        answers = clients[number % len(clients)].predict_batch(asked)
        predictions = [answer for answer in answers if isinstance(answer, Prediction)]
        assert len(predictions) == BATCH, answers
        labels = [_label(chance, one) for one in predictions if chance.random() < 0.95]
        receipts = clients[(number + 1) % len(clients)].feedback_batch(labels)
        taken += sum(isinstance(receipt, FeedbackReceipt) for receipt in receipts)
        assert all(isinstance(receipt, FeedbackReceipt) for receipt in receipts), receipts
    return taken


def _ask(chance: random.Random, number: int) -> Ask:
    options = chance.sample(OPTIONS, chance.randint(2, len(OPTIONS)))
    text = f"What is {chance.randint(0, 999)}?"
    return {"question": text, "options": options, "task": TASKS[number % len(TASKS)]}


def _label(chance: random.Random, answer: Prediction) -> Label:
    right = answer.option.index
    if chance.random() > max(answer.confidence - 0.15, 0):
        right = (right + 1) % len(answer.probabilities)
    return {"prediction_id": answer.prediction_id, "answer": right}


@dataclass
class Offline:
    """The values that the rules should record for one task, computed from the ledger's rows."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def labelled(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["label"] is not None]

    def sums(self) -> dict[str, float]:
        """N, S, C, V, and the sums of (y - p)^2 and of (1 - 2 p)^2 p (1 - p)."""
        pairs = [(row["confidence"], float(row["label"]["correct"])) for row in self.labelled]
        return {
            "N": float(len(pairs)),
            "S": math.fsum(p for p, _ in pairs),
            "C": math.fsum(y for _, y in pairs),
            "V": math.fsum(p * (1 - p) for p, _ in pairs),
            "brier": math.fsum((y - p) ** 2 for p, y in pairs),
            "z_variance": math.fsum((1 - 2 * p) ** 2 * p * (1 - p) for p, _ in pairs),
        }

    def quantities(self) -> dict[str, float]:
        """The recorded quantities of a task, by the name of their rule after `uq4ct_`."""
        sums = self.sums()
        n = sums["N"]
        variance = defaultdict[int, float](float)
        for row in self.labelled:
            variance[bin_of(row["confidence"])] += row["confidence"] * (1 - row["confidence"])
        answered = [row for row in self.labelled if not row["abstain"]]
        return {
            "ece:ratio24h": expected_calibration_error(
                torch.tensor([row["confidence"] for row in self.labelled], dtype=torch.float64),
                torch.tensor([row["label"]["correct"] for row in self.labelled]),
            ),
            "ece_noise_floor:ratio24h": sum(min(math.sqrt(0.6366 * v), 2 * v) for v in variance.values()) / n,
            "accuracy:ratio24h": sums["C"] / n,
            "confidence_gap:ratio24h": (sums["S"] - sums["C"]) / n,
            "confidence_gap:z24h": (sums["S"] - sums["C"]) / math.sqrt(sums["V"]),
            "spiegelhalter:z24h": (sums["brier"] - sums["V"]) / math.sqrt(sums["z_variance"]),
            "answered:ratio24h": sum(not row["abstain"] for row in self.rows) / len(self.rows),
            "selective_risk:ratio24h": 1 - sum(row["label"]["correct"] for row in answered) / len(answered),
            "expected_accuracy:ratio24h": math.fsum(row["confidence"] for row in self.rows) / len(self.rows),
            "labelled:ratio24h": n / len(self.rows),
        }


def read_ledger(url: str) -> dict[str, Offline]:
    """Read the ledger's rows, grouped by task."""
    database = Database(url)
    tasks = defaultdict[str, Offline](Offline)
    for row in (json.loads(line) for line in export_lines(database)):
        tasks[row["task"]].rows.append(row)
    database.close()
    return dict(tasks)


def population_stability(values: Iterable[float], reference: Sequence[float]) -> float:
    """PSI of values in [0, 1] against shares of the bins."""
    bins = [bin_of(min(value, 1.0)) for value in values]
    shares = [bins.count(index) / len(bins) for index in range(BINS)]
    return sum((p - q) * math.log(max(p, 1e-4) / max(q, 1e-4)) for p, q in zip(shares, reference, strict=True))
