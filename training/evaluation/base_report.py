"""What a loaded base model is, for `uq4ct check-base`."""

from __future__ import annotations

from collections.abc import Iterator

from uq4ct.model_store.adapters.config import ROLES
from uq4ct.model_store.adapters.places import LinearPlace, find_places
from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.scoring import build_scorer
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.model_store.scoring.plain_tokenizer import TokenizerError


def describe_base(base: BaseModel) -> Iterator[str]:
    """Yield lines on the identity of a base model, its size, its layout, its linears by role, and its scorings."""
    identity, model = base.identity, base.model
    yield f"{identity.name}: family {identity.model_type}, {identity.digest}"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size = sum(parameter.nbytes for parameter in model.parameters())
    yield f"{parameters:,} parameters, {size / 1e9:.2f} GB in {base.dtype_name} on {model.device}"
    yield f"questions of up to {base.window:,} tokens; {base.reading.describe()}"
    linears = [place for place in find_places(model) if isinstance(place, LinearPlace)]
    for role in ROLES[:2]:
        names = list(dict.fromkeys(place.attribute for place in linears if place.role == role))
        yield f"targets of {role}: {', '.join(names) or 'none'}"
    encoder = TextEncoder(base.tokenizer)
    for scoring in (ClozeConfig(), LetterConfig()):
        yield f"{scoring.kind} scoring: {_usable(scoring, encoder, base.window)}"


def _usable(scoring: ClozeConfig | LetterConfig, encoder: TextEncoder, window: int) -> str:
    try:
        build_scorer(scoring, encoder, window)
    except TokenizerError as error:
        return f"not possible: {error}"
    return "possible"
