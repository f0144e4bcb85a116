"""The knobs of the loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from uq4ct.model_store.frozen import Frozen


class LossConfig(Frozen):
    """The terms beside the cross entropy (equation 11)."""

    load_balance: float = Field(default=0.01, ge=0, description="alpha, coefficient of the load balance loss")
    load_balance_form: Literal["argmax", "top_k"] = Field(default="argmax", description="which experts count as chosen")
    l2: float = Field(default=0.0, ge=0, description="coefficient of the squared norm of B A, for lora")
    calibration: float = Field(default=1.0, ge=0, description="beta, coefficient of the calibration loss")
    calibration_ramp_steps: int = Field(
        default=0, ge=0, description="steps over which beta rises (equation 12); 0 = constant"
    )
    indicator: Literal["training", "held_out"] = Field(
        default="training",
        description="whose correctness FEU is drawn to: the batch's own, or that of questions held out",
    )
    held_out_share: float = Field(
        default=0.2, gt=0, lt=1, description="share of the training questions held out for FEU"
    )
