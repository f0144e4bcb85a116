"""Compare texts as readers see them: neither invisible characters nor the encoding of a character make a difference."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_SEPARATORS = ("Cc", "Zl", "Zp", "Zs")  # controls, line and paragraph separators, spaces
# Symbols and letters that are shown as a gap: Braille pattern blank and the Hangul fillers.
_GAPS = frozenset("\u2800\u115f\u1160\u3164\uffa0")
# Code points that are not shown and are not of category Cf (Unicode's property Default_Ignorable_Code_Point).
_HIDDEN_RANGES = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2065, 0x2065),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),  # tags, more variation selectors
)
_RAISED = ("<super>", "<sub>")  # 10² is not 102
_PIECE = 10_000  # characters; one call of C code on more of them would make other threads wait noticeably
_LONGEST_RUN = 30  # marks on one character that are sorted together (Unicode's Stream-Safe Text Format)
_WORD = re.compile(r"\S+")


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing: the text has only white space, gaps and characters that are not shown."""
    if text.isascii() and text.isprintable():
        return not text.strip()
    return all(_is_gap(char) or _is_hidden(char) for char in text)


def join_words(text: str) -> str:
    """Return the text without white space around it and with single spaces in it."""
    words = text.split() if len(text) < _PIECE else (word.group() for word in _WORD.finditer(text))
    return " ".join(words)


def looks_of(text: str) -> str:
    """Return a form that is equal for texts that look alike: NFKD without format characters, with single spaces.

    Equal forms in NFKD are equal forms in NFKC. Superscripts and subscripts stay apart from the plain characters.
    """
    if text.isascii() and text.isprintable():
        return join_words(text)
    forms = _Forms()
    shown = "".join(text[start : start + _PIECE].translate(forms) for start in range(0, len(text), _PIECE))
    marks = "".join({char for form in forms.values() for char in form if unicodedata.combining(char)})
    return join_words(_sort_marks(shown, marks) if marks else shown)


class _Forms(dict[int, str]):
    """What each code point is replaced with; filled on demand."""

    def __missing__(self, code: int) -> str:
        self[code] = form = _form_of(chr(code))
        return form


def _form_of(char: str) -> str:
    if _is_gap(char):
        return " "
    if _is_hidden(char):
        return ""
    return char if unicodedata.decomposition(char).startswith(_RAISED) else unicodedata.normalize("NFKD", char)


def _is_gap(char: str) -> bool:
    return unicodedata.category(char) in _SEPARATORS or char in _GAPS


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) == "Cf" or any(low <= ord(char) <= high for low, high in _HIDDEN_RANGES)


def _sort_marks(text: str, marks: str) -> str:
    """Put marks on the same character into canonical order, in which their order in the text makes no difference."""
    run = re.compile(f"[{re.escape(marks)}]{{2,{_LONGEST_RUN}}}")
    return "".join(
        run.sub(lambda found: "".join(sorted(found.group(), key=unicodedata.combining)), piece)
        for piece in _pieces(text, marks)
    )


def _pieces(text: str, marks: str) -> Iterator[str]:
    """Cut the text into pieces, but not between marks."""
    start = 0
    while start < len(text):
        end = start + _PIECE
        while end < len(text) and text[end] in marks:
            end += 1
        yield text[start:end]
        start = end
