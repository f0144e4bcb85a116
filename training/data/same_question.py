"""When two questions count as the same: their text and context are equal without case, spacing and punctuation.

Matching is generous on purpose: a false match costs one training question, a missed one spoils a measurement.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

from uq4ct.model_store.questions import Question

# Characters that distinguish sums and code are kept: 2*3 is not 2/3, 1.5 is not 15.
_MEANINGFUL = frozenset("-*/%&#@\\.")
# A hyphen between letters, and a stop that is not between digits; both begin with the character, which is found faster.
_HYPHEN_OR_STOP = re.compile(r"-(?<=[^\W\d]-)(?=[^\W\d])|\.(?:(?<!\d\.)|(?!\d))")
_KEY_BYTES = 16  # a false match among a billion questions has a probability of about 1e-21


def key_of(question: Question) -> bytes:
    """Return 16 bytes that are equal for the same questions."""
    text = normalise_question(question).encode("utf-8")
    return blake2b(text, digest_size=_KEY_BYTES).digest()


def normalise_question(question: Question) -> str:
    """Return text and context in the form that is compared: without case, spacing and punctuation."""
    return f"{_normalise(question.text)}\n{_normalise(question.context) if question.context else ''}"


def _normalise(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    dashed = folded.translate(_DASHES)
    if "-" in dashed or "." in dashed:
        dashed = _HYPHEN_OR_STOP.sub("", dashed)
    return dashed.translate(_KEPT) or "".join(folded.split())


class _Dashes(dict[int, str]):
    """What dashes of all kinds are replaced with; filled on demand."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = form = "-" if unicodedata.category(char) == "Pd" else char
        return form


class _Kept(dict[int, str | None]):
    """Each character, or None for one that is ignored; filled on demand."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        ignored = char not in _MEANINGFUL and unicodedata.category(char)[0] in "CPZ"  # controls, punctuation, spaces
        self[code] = form = None if ignored else char
        return form


_DASHES = _Dashes()
_KEPT = _Kept()
