"""Compare the recorded series with the library, on random answers and labels that two replicas count."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from prometheus_client import CollectorRegistry

from tests.docker.prometheus_rules import RULE_FILES
from tests.docker.promtool import promtool
from tests.service.served import CONFIDENCE, FEU, answer, manifest_of
from uq4ct.model_store.uncertainty.bins import BINS, bin_of
from uq4ct.model_store.uncertainty.calibration_error import expected_calibration_error, noise_floor
from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.metrics import Metrics

HOURS = 24
QUIET = 2  # hours at the start without traffic, so that a scrape sees the zeros
RESTART = 12
COHORT = 'model="toy", version="3", task="other"'


@dataclass
class Traffic:
    """Answers and labels, and hourly scrapes of the two replicas that counted them."""

    answers: list[PredictionRecord] = field(default_factory=list)
    labelled: list[tuple[PredictionRecord, bool]] = field(default_factory=list)
    scraped: dict[str, list[float | None]] = field(default_factory=lambda: defaultdict(lambda: [None] * (HOURS + 1)))

    def scrape(self, hour: int, replica: str, metrics: Metrics) -> None:
        for family in metrics.registry.collect():
            for sample in family.samples:
                if "model" in sample.labels and not sample.name.endswith(("_created", "_bucket")):
                    labels = ", ".join(f'{k}="{v}"' for k, v in {**sample.labels, "instance": replica}.items())
                    self.scraped[f"{sample.name}{{{labels}}}"][hour] = sample.value


def _replica() -> Metrics:
    metrics = Metrics(CollectorRegistry(), ("triage",))
    metrics.announce_model(manifest_of())
    return metrics


def _traffic(seed: int) -> Traffic:
    """Overconfident answers, a third labelled, on two replicas; `b` restarts, and is scraped before it gets traffic."""
    random = np.random.default_rng(seed)
    traffic = Traffic()
    replicas = {"a": _replica(), "b": _replica()}
    for hour in range(HOURS + 1):
        if hour == RESTART:
            replicas["b"] = _replica()
        for _ in range(0 if hour < QUIET or hour == RESTART else int(random.integers(20, 60))):
            p, feu = random.beta(4, 2), random.beta(5, 3)
            task = "triage" if random.random() < 0.3 else "other"
            record = answer(p, feu=feu, task=task, abstain=bool(p < 0.5))
            traffic.answers.append(record)
            replicas[random.choice(["a", "b"])].count_prediction(record)
            if random.random() < 1 / 3:
                correct = bool(random.random() < p - 0.1)
                traffic.labelled.append((record, correct))
                replicas[random.choice(["a", "b"])].count_label(record, correct=correct, labelled_ms=0)
        for name, metrics in replicas.items():
            traffic.scrape(hour, name, metrics)
    return traffic


def _expected(traffic: Traffic) -> dict[str, float]:
    """The values that the rules should record, from the library and from sums over answers instead of bins."""
    answers = [one for one in traffic.answers if one.task == "other"]
    labelled = [(one, correct) for one, correct in traffic.labelled if one.task == "other"]
    p = np.array([one.confidence for one, _ in labelled])
    y = np.array([correct for _, correct in labelled], dtype=float)
    answered = np.array([not one.abstain for one, _ in labelled])
    variance = p * (1 - p)
    z_variance = (1 - 2 * p) ** 2 * variance
    expected = {
        "predictions:increase24h": len(answers),
        "labels:increase24h": len(labelled),
        "ece:ratio24h": expected_calibration_error(torch.tensor(p), torch.tensor(y).bool()),
        "accuracy:ratio24h": y.mean(),
        "confidence_gap:ratio24h": p.mean() - y.mean(),
        "confidence_gap:z24h": (p - y).sum() / math.sqrt(variance.sum()),
        "spiegelhalter:z24h": ((y - p) ** 2 - variance).sum() / math.sqrt(z_variance.sum()),
        "answered:ratio24h": np.mean([not one.abstain for one in answers]),
        "selective_risk:ratio24h": 1 - y[answered].mean(),
        "expected_accuracy:ratio24h": np.mean([one.confidence for one in answers]),
        "labelled:ratio24h": len(labelled) / len(answers),
    }
    return {f"model_version_task:uq4ct_{name}{{{COHORT}}}": float(value) for name, value in expected.items()}


def _stability(values: list[float], reference: tuple[int, ...]) -> float:
    p = np.bincount([bin_of(value) for value in values], minlength=BINS) / len(values)
    q = np.array(reference) / sum(reference)
    return float(((p - q) * np.log(np.maximum(p, 1e-4) / np.maximum(q, 1e-4))).sum())


def _check(folder: Path, traffic: Traffic, expected: dict[str, float], tolerance: float) -> None:
    """Let promtool compare each expression with its value; the tolerance is part of the expression."""
    case = {
        "interval": "1h",
        "input_series": [
            {"series": series, "values": " ".join("_" if value is None else repr(value) for value in values)}
            for series, values in traffic.scraped.items()
        ],
        "promql_expr_test": [
            {
                "expr": f"sum(abs({expression} - {value!r}) < bool {tolerance})",
                "eval_time": f"{HOURS}h",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
            for expression, value in expected.items()
        ],
    }
    document: dict[str, Any] = {
        "rule_files": [str(path) for path in RULE_FILES],
        "evaluation_interval": "1h",
        "group_eval_order": ["increments", "calibration", "drift"],
        "tests": [case],
    }
    path = folder / "case.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    promtool("test", "rules", path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_rules_record_what_the_library_computes(tmp_path: Path, seed: int) -> None:
    traffic = _traffic(seed)
    expected = _expected(traffic)
    version = 'model="toy", version="3"'
    confidence = _stability([one.confidence for one in traffic.answers], CONFIDENCE)
    feu = _stability([one.feu for one in traffic.answers if one.feu is not None], FEU)
    expected[f"model_version:uq4ct_confidence:psi24h{{{version}}}"] = confidence
    expected[f"model_version:uq4ct_feu:psi24h{{{version}}}"] = feu
    _check(tmp_path, traffic, expected, 1e-9)


@pytest.mark.slow
def test_the_recorded_noise_floor_is_near_the_simulated_one(tmp_path: Path) -> None:
    """Both use the same confidences; the rule approximates the sum of each bin as normal."""
    traffic = _traffic(2)
    p = torch.tensor([one.confidence for one, _ in traffic.labelled if one.task == "other"])
    simulated = noise_floor(p, draws=4000).mean
    _check(tmp_path, traffic, {f"model_version_task:uq4ct_ece_noise_floor:ratio24h{{{COHORT}}}": simulated}, 0.003)
