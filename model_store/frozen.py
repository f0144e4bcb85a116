"""The base of every stored or configured record: immutable, validated, unknown fields refused."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A validated, immutable record whose JSON round trip is lossless."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", protected_namespaces=())
