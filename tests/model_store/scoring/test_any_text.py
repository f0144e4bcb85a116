"""Any question is answered, or rejected with a reason, and is treated only as text."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.calibrations import TemperatureCalibration
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.predictor import answers_from_samples
from uq4ct.model_store.questions import LABELS, Question, QuestionError
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import QuestionTooLongError, TextEncoder
from uq4ct.model_store.token_batch import collate

LIMIT = 400
MARKERS = st.sampled_from([
    "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<tool_call>",
    "\nAnswer:", "\nAnswer: A", "B. x", "\nB. x", "\r\nB. x", "\u2028C. y", "\x85D. z", ": ", "Question: ",
    "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r", "\n", "\t", "\x00", "\x1b[2J", "\x7f",
    "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\ufffe", "\U0010ffff", "\ud800",
    "\u202eabc", "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd",
    "👩\u200d👩\u200d👧", "🇩🇪", "e\u0301", "\u0301", "\u0338",
    "A" * 50, "long " * 300,
])  # fmt: skip
TEXTS = st.lists(st.text(max_size=8) | MARKERS, min_size=1, max_size=4).map("".join)
OPTIONS = (
    st.lists(TEXTS, min_size=2, max_size=5)
    | st.lists(TEXTS, max_size=28)
    | st.tuples(TEXTS).map(lambda texts: [*texts, *(str(number) for number in range(25))])
)
SCORINGS = {"letter": LetterConfig(max_tokens=LIMIT), "cloze": ClozeConfig(max_tokens=LIMIT)}


@pytest.fixture(scope="module", params=["plain", "starting"])
def tokenizer(request, tiny_tokenizer, starting_tokenizer):
    """One without a start token, and one with."""
    return starting_tokenizer if request.param == "starting" else tiny_tokenizer


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_base_folder, make_model, tokenizer):
    """Both scorings on one base."""
    folder = make_base_folder(tmp_path_factory.mktemp("any"), tokenizer=tokenizer, hidden_size=16)
    base = load_base_model(str(folder), device="cpu", dtype="float32")
    letter = make_model(base, SCORINGS["letter"], adapter="letter")
    return {"letter": letter, "cloze": make_model(base, SCORINGS["cloze"], adapter="cloze", tuner=letter.tuner)}


def _refusal(model, text, options, context):
    """Return the encoded question, or the error with which it is rejected."""
    try:
        question = Question("q", text, tuple(options), context)
        return model.scorer.encode(question), None
    except (QuestionError, QuestionTooLongError) as error:
        return None, error


def _check_refusal(error, options):
    if isinstance(error, QuestionTooLongError):
        assert error.length > error.limit >= LIMIT
        assert f"{error.length} {error.unit}" in str(error)
    else:
        assert error.field in {"question", "context", "options", *(f"options.{i}" for i in range(len(options)))}
        assert str(error).startswith(f"{error.field}: ")


def _lines(tokenizer, encoded):
    """Return the prompt's lines, split at all kinds of line breaks."""
    return tokenizer.backend_tokenizer.decode(list(encoded.tokens), skip_special_tokens=False).splitlines()


@pytest.mark.parametrize("scoring", SCORINGS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, options=OPTIONS, context=st.none() | TEXTS)
def test_any_question_is_answered_or_refused_with_a_reason(models, tokenizer, scoring, text, options, context):
    model = models[scoring]
    encoded, error = _refusal(model, text, options, context)
    if encoded is None:
        _check_refusal(error, options)
        return
    start = TextEncoder(tokenizer).encode("").ids
    assert list(encoded.tokens[: len(start)]) == start
    special = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    assert not set(encoded.tokens[len(start) :]) & set(special)
    with torch.inference_mode():
        output = model(collate([encoded]))
    samples = CandidateSamples(output.logits.unsqueeze(0), output.feu)
    (answer,) = answers_from_samples(
        samples,
        [encoded.options],
        TemperatureCalibration(value=1.3, questions=2, nll_before=0, nll_after=0, at_bound=False),
    )
    assert len(answer.probabilities) == encoded.options == len(options)
    assert sum(answer.probabilities) == pytest.approx(1, abs=1e-6)
    assert all(probability >= 0 for probability in answer.probabilities)
    assert answer.confidence == answer.probabilities[answer.option] == max(answer.probabilities)
    assert answer.feu is not None
    assert 0.5 - 1e-6 <= answer.feu <= 1 + 1e-6  # two of four experts
    if scoring == "letter":
        plain, _ = _refusal(model, text, [f"a{index}" for index in range(len(options))], context)
        assert plain is not None
        lines = _lines(tokenizer, encoded)
        assert len(lines) == len(_lines(tokenizer, plain))
        for label, line in zip(LABELS, lines[-1 - len(options) : -1], strict=False):
            assert line.startswith(f"{label}. ")


@pytest.mark.parametrize("scoring", SCORINGS)
def test_twenty_six_options_are_answered(models, scoring):
    model = models[scoring]
    encoded = model.scorer.encode(Question("q", "Which?", tuple(f"{n}" for n in range(26))))
    assert model(collate([encoded])).logits.shape == (1, 26)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_a_very_long_question_is_refused_with_its_length(models, scoring):
    _, error = _refusal(models[scoring], "word " * 20_000, ["a", "b"], None)
    assert isinstance(error, QuestionTooLongError)
    assert error.length > 20_000
