"""Options that readers cannot tell apart are the same option; the model gets the texts as they are."""

from __future__ import annotations

import time
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.lookalikes import is_blank, looks_of
from uq4ct.model_store.question_files import repeats_option
from uq4ct.model_store.questions import Question, QuestionError

NOT_SHOWN = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2069\ufe0f\u034f\U000e0041"
)
GAPS = " \t\n\u00a0\u2003\u2028\u3000\u2800\u3164\u115f\u1160\uffa0"
LETTERS = st.text(alphabet=st.characters(categories=("L", "M", "N", "P", "S"), exclude_characters=GAPS), max_size=12)
FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
WORDS = st.lists(LETTERS.filter(lambda word: not is_blank(word)), min_size=1, max_size=3)


def reference(text: str) -> str:
    """NFKC without format characters and with single spaces, from calls that treat the text as a whole."""
    spaced = "".join(" " if char in GAPS else char for char in text)
    kept = "".join(char for char in spaced if unicodedata.category(char) != "Cf" and char not in NOT_SHOWN)
    return " ".join(unicodedata.normalize("NFKC", kept).split())


def ask(*options: str) -> Question:
    return Question("q", "Which?", options)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", "Par\u200bis"),
        ("Paris", "\u202eParis\u202c"),
        ("Paris", "Paris\ufeff"),
        ("Paris", "Pa\u00adris"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u1ec7", "e\u0302\u0323"),  # two marks, in either order
        ("e\u0323\u0302", "e\u0302\u0323"),
        ("Ångström", "\u212bngström"),
        ("five", "ﬁve"),
        ("A1", "\uff21\uff11"),
        ("heart \u2764", "heart \u2764\ufe0f"),
        ("New York", "New\u00a0York"),
        ("New York", "New\u2800\u3164 York "),
        ("\ud55c", "\u1112\u1161\u11ab"),  # Hangul, whole and in parts
    ],
)
def test_options_that_look_alike_are_refused_and_named(one: str, other: str) -> None:
    with pytest.raises(QuestionError, match="the same as option 1") as caught:
        ask("Rome", one, "Oslo", other)
    assert caught.value.field == "options.3"
    assert repeats_option(caught.value, ["Rome", one, "Oslo", other])
    assert not repeats_option(caught.value, ["Rome", one, "Oslo"])


def test_the_message_shows_what_cannot_be_seen() -> None:
    with pytest.raises(QuestionError) as caught:
        ask("Paris", "Par\u200bis")
    assert str(caught.value) == (
        r"options.1: 'Par\u200bis' looks the same as option 0, 'Paris': they differ only in invisible characters or in "
        "how characters are encoded"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10\u00b2", "102"),
        ("H\u2082O", "H2O"),
        ("cafe", "caf\u00e9"),
        ("Paris", "paris"),
        ("New York", "NewYork"),
        ("\u2801\u2800\u2803", "\u2801\u2803"),  # Braille, as two words and as one
        ("-1", "1"),
    ],
)
def test_options_that_differ_are_kept_as_they_are(one: str, other: str) -> None:
    assert ask(one, other).options == (one, other)


@given(WORDS, st.sampled_from(FORMS), st.data())
def test_what_is_not_shown_makes_no_difference(
    words: list[str], form: Literal["NFC", "NFD"], data: st.DataObject
) -> None:
    text = " ".join(words)
    disguised = "".join(data.draw(st.text(NOT_SHOWN, max_size=2)) + char for char in unicodedata.normalize(form, text))
    assert looks_of(disguised) == looks_of(text)
    gap = data.draw(st.text(GAPS, min_size=1, max_size=3))
    assert looks_of(gap + gap.join(words) + gap) == looks_of(text)


CONFUSING = st.text("aeé\u0301\u0323\u0302ệﬁfi\uff41Å\u212b \u3000\u2800\u200b\u202e\u1112\u1161\ud558½", max_size=5)


@given(CONFUSING, CONFUSING)
def test_two_texts_look_alike_as_in_nfkc(one: str, other: str) -> None:
    assert (looks_of(one) == looks_of(other)) is (reference(one) == reference(other))


@given(st.text(max_size=30))
def test_a_text_looks_like_its_nfkc(text: str) -> None:
    """Apart from superscripts and subscripts, which stay apart."""
    plain = "".join(char for char in text if "<su" not in unicodedata.decomposition(char))
    assert looks_of(unicodedata.normalize("NFKC", plain)) == looks_of(plain)


@given(st.text(max_size=30))
def test_the_form_is_stable_and_blank_texts_have_an_empty_one(text: str) -> None:
    looks = looks_of(text)
    assert looks_of(looks) == looks
    assert (looks == "") is is_blank(text)


@given(WORDS, st.sampled_from(NOT_SHOWN))
def test_the_texts_reach_the_model_unchanged(words: list[str], hidden: str) -> None:
    texts = (f" {hidden.join(words)} ", "!" + "".join(words) + hidden + "!")
    assert ask(*texts).options == texts


@pytest.mark.parametrize("char", [*"\u2800\u3164\u115f\u1160\uffa0", *NOT_SHOWN, "\u3000\u200b\u2800"])
def test_a_text_without_anything_to_see_is_empty(char: str) -> None:
    with pytest.raises(QuestionError, match=r"^options\.1: is empty$"):
        ask("a", char * 3)
    with pytest.raises(QuestionError, match=r"^question: is empty$"):
        Question("q", char, ("a", "b"))
    assert ask("a", f"{char}b").options == ("a", f"{char}b")


@pytest.mark.parametrize(
    "text", ["\u0301\u0323" * 200_000, "e\u0323\u0302" * 130_000, "\ufdfa" * 100_000, "\u200b" * 400_000 + "x"]
)
def test_a_long_text_costs_time_in_proportion(text: str) -> None:
    """Canonical reordering of a long run of marks would take quadratic time."""
    start = time.process_time()
    looks_of(text)
    assert time.process_time() - start < 2.0
