"""Calibrations, fitted after training and stored in the manifest: each turns samples into probabilities."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, model_validator
from torch import Tensor

from uq4ct.model_store.frozen import Frozen, NonNegative
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.uncertainty.decomposition import Decomposition, decompose, entropy, sample_probabilities
from uq4ct.model_store.uncertainty.feu_temperature import FeuTemperature
from uq4ct.model_store.uncertainty.isotonic import Isotonic
from uq4ct.model_store.uncertainty.platt import Platt

Calibrated = tuple[Tensor, Decomposition]  # probabilities, float64 [B, C], and their entropies


class NoRoutersError(ValueError):
    """A calibration that needs FEU was applied to an adapter without routers."""


class NoCalibration(Frozen):
    """No calibration: the model's own probabilities."""

    kind: Literal["none"] = "none"

    def apply(self, samples: CandidateSamples) -> Calibrated:
        """Return the mean over the samples."""
        return _mean(sample_probabilities(samples.logits))


class _Fitted(Frozen):
    """Abstract: a fitted calibration, with the size of its fit split and the NLL before and after."""

    questions: int = Field(ge=1, description="number of questions it was fitted on")
    nll_before: NonNegative = Field(description="on the fit split, nats per question")
    nll_after: NonNegative = Field(description="on the fit split, nats per question")
    at_bound: bool = Field(description="whether the fit ended at a bound of its parameters; always false for isotonic")


class TemperatureCalibration(_Fitted):
    """One temperature that divides the logits of every posterior sample."""

    kind: Literal["temperature"] = "temperature"
    value: FiniteFloat = Field(gt=0)

    def apply(self, samples: CandidateSamples) -> Calibrated:
        """Return the mean over the samples, with logits divided by the temperature."""
        return _mean(sample_probabilities(samples.logits, self.value))


class FeuTemperatureCalibration(_Fitted):
    """A temperature per question, from its FEU and its number of options: see `uncertainty.feu_temperature`."""

    kind: Literal["feu_temperature"] = "feu_temperature"
    level: FiniteFloat
    feu_slope: NonNegative
    options_slope: FiniteFloat
    feu_center: FiniteFloat

    def apply(self, samples: CandidateSamples) -> Calibrated:
        """Return the mean over the samples, with logits divided by their question's temperature.

        Raises:
            NoRoutersError: the samples have no FEU.
        """
        if samples.feu is None:
            raise NoRoutersError("calibration feu_temperature needs FEU, but the adapter has no routers")
        temperature = FeuTemperature(self.level, self.feu_slope, self.options_slope, self.feu_center)
        return _mean(sample_probabilities(temperature.divide(samples.logits, samples.feu)))


class PlattCalibration(_Fitted):
    """Platt scaling: a line on the log-odds of each candidate's probability."""

    kind: Literal["platt"] = "platt"
    slope: FiniteFloat = Field(gt=0)
    intercept: FiniteFloat

    def apply(self, samples: CandidateSamples) -> Calibrated:
        """Return the mapped mean over the samples."""
        probabilities, parts = _mean(sample_probabilities(samples.logits))
        return _mapped(Platt(self.slope, self.intercept).apply(probabilities), parts)


class IsotonicCalibration(_Fitted):
    """Isotonic regression: an increasing, piecewise linear map of each candidate's probability."""

    kind: Literal["isotonic"] = "isotonic"
    knots: tuple[FiniteFloat, ...]
    values: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _check(self) -> IsotonicCalibration:
        Isotonic(self.knots, self.values)
        return self

    def apply(self, samples: CandidateSamples) -> Calibrated:
        """Return the mapped mean over the samples."""
        probabilities, parts = _mean(sample_probabilities(samples.logits))
        return _mapped(Isotonic(self.knots, self.values).apply(probabilities), parts)


Calibration = Annotated[
    NoCalibration | TemperatureCalibration | FeuTemperatureCalibration | PlattCalibration | IsotonicCalibration,
    Field(discriminator="kind"),
]


def _mean(probabilities: Tensor) -> Calibrated:
    return probabilities.mean(dim=0), decompose(probabilities)


def _mapped(probabilities: Tensor, parts: Decomposition) -> Calibrated:
    """Keep the mutual information, capped at the new total entropy: the map applies to the mean, not to the samples."""
    total = entropy(probabilities)
    epistemic = parts.epistemic.minimum(total)
    return probabilities, Decomposition(total, total - epistemic, epistemic)
