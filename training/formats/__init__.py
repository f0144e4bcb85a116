"""Read adapters of other programs; their configuration says which format they have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from uq4ct.training.formats.foreign import CONFIG_FILE, Checkpoint, ForeignAdapter, FormatError, read_checkpoint, shown
from uq4ct.training.formats.mixlora import from_mixlora
from uq4ct.training.formats.peft_lora import from_peft

FORMATS: dict[str, Callable[[Checkpoint], ForeignAdapter]] = {"LORA": from_peft, "MIXLORA": from_mixlora}


def read_adapter(folder: Path) -> ForeignAdapter:
    """Read a PEFT LoRA or MixLoRA checkpoint.

    Raises:
        FormatError: it is neither, is incomplete, or needs something that our adapters do not support.
    """
    checkpoint = read_checkpoint(folder)
    kind = checkpoint.config.get("peft_type")
    if not isinstance(kind, str) or kind not in FORMATS:
        raise FormatError(f"{folder / CONFIG_FILE}: peft_type {shown(kind)} is not one of {', '.join(FORMATS)}")
    try:
        return FORMATS[kind](checkpoint)
    except FormatError as error:
        raise FormatError(f"{folder}: {error}") from error
