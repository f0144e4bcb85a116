"""The configuration of an adapter: the shape and placement of its experts and its routing rule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from uq4ct.model_store.frozen import Frozen

Mixing = Literal["raw", "renormalised", "raw_with_base"]
Role = Literal["attention", "feed_forward"]
ROLES = ("attention", "feed_forward", "all")  # as targets; attention includes whatever else mixes tokens in a layer
BLOCK_TARGETS = ("gate_proj", "up_proj", "down_proj")
LINEAR_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", *BLOCK_TARGETS)


class AdapterConfig(Frozen):
    """A LoRA mixture of experts; one expert without a router is plain LoRA.

    `mixing` is `raw` (equation 7: B A weighted by the kept softmax masses), `renormalised` (by their share of the kept
    mass) or `raw_with_base` (equation 3 to the letter: W x is weighted by the kept mass, too, so the base model is
    damped until training has made up for it). `placement` is `layer` (every target has all the experts, with one router
    per layer on the output of its input norm, equation 2) or `block` (MixLoRA: each expert is a whole feed-forward
    block, with one router per layer on the block's input and renormalised mixing; targets outside the block have plain
    LoRA).
    """

    experts: int = Field(default=8, ge=1, le=128, description="number of experts of each adapted linear")
    top_k: int = Field(default=2, ge=1, description="experts kept by the router for each token")
    rank: int = Field(default=16, ge=1, le=1024, description="rank of each expert")
    alpha: float = Field(default=32.0, gt=0, description="numerator of the scale alpha / rank of B A")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="share of the adapter's input set to zero in training")
    mixing: Mixing = Field(default="raw", description="weights of the kept experts")
    placement: Literal["layer", "block"] = Field(default="layer", description="where the experts are")
    feu_tokens: Literal["prompt", "prompt_and_options"] = Field(default="prompt", description="tokens included in FEU")
    targets: tuple[str, ...] = Field(
        default=("all",),
        min_length=1,
        description="adapted linears: attention, feed_forward or all of the layers', or names such as q_proj",
    )

    @model_validator(mode="after")
    def _check(self) -> AdapterConfig:
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} is larger than the number of experts {self.experts}")
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"targets {list(self.targets)} name a linear twice")
        if self.placement == "block":
            self._check_block()
        return self

    def _check_block(self) -> None:
        if not self.routed:
            raise ValueError("placement 'block' needs at least 2 experts")
        if self.mixing != "renormalised":
            # The weights of a block's experts must add up to 1: each expert is the whole block, base weights included.
            raise ValueError(f"placement 'block' needs mixing 'renormalised', not {self.mixing!r}")
        missing = [target for target in BLOCK_TARGETS if target not in self.targets]
        named = len(missing) < len(BLOCK_TARGETS)  # else by a role, or by other names, which the base model decides
        if named and missing and not {"feed_forward", "all"}.intersection(self.targets):
            raise ValueError(f"placement 'block' adapts the whole feed-forward block: targets lack {missing}")

    @property
    def routed(self) -> bool:
        """Whether there is a router: with one expert there is nothing to choose."""
        return self.experts > 1

    @property
    def plain(self) -> AdapterConfig:
        """The same configuration with one expert and no router."""
        return self.model_copy(update={"experts": 1, "top_k": 1, "placement": "layer"})

    @property
    def scale(self) -> float:
        """The factor of B A, alpha / rank."""
        return self.alpha / self.rank
