from __future__ import annotations

import itertools

import pytest
import torch

from uq4ct.model_store.adapters.context import adapter_forward
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring import build_scorer, cloze
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.scoring.encoding import QuestionTooLongError, TextEncoder
from uq4ct.model_store.token_batch import collate


def _score(model, questions, **kwargs):
    with torch.no_grad():
        return model(collate([model.scorer.encode(question) for question in questions], **kwargs)).logits


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_each_option_scores_as_it_does_alone(tiny_base, make_model, questions, plain_logits, reduction):
    model = make_model(tiny_base, ClozeConfig(reduction=reduction))
    with torch.no_grad():
        model.scorer.log_scale.fill_(0.4)
    logits = _score(model, questions)
    encoder = TextEncoder(tiny_base.tokenizer)
    for question, row in zip(questions, logits, strict=True):
        context = f"{question.context}\n" if question.context else ""
        prefix = encoder.encode(f"{context}Question: {question.text}\nAnswer:").ids
        for option, ours in zip(question.options, row.tolist(), strict=False):
            whole = encoder.encode(f"{context}Question: {question.text}\nAnswer: {option}").ids
            assert whole[: len(prefix)] == prefix
            likelihoods = torch.log_softmax(plain_logits(model, whole), dim=-1)
            each = [float(likelihoods[place - 1, whole[place]]) for place in range(len(prefix), len(whole))]
            score = sum(each) / (len(each) if reduction == "mean" else 1) * torch.tensor(0.4).exp().item()
            assert ours == pytest.approx(score, abs=1e-5 * len(each))
        assert torch.isneginf(row[len(question.options) :]).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_neither_padding_nor_company_changes_a_score(tiny_base, make_model, questions, side):
    model = make_model(tiny_base)
    together = _score(model, questions, padding_side=side)
    for question, row in zip(questions, together, strict=True):
        torch.testing.assert_close(row[: len(question.options)], _score(model, [question])[0], rtol=0, atol=1e-5)


def test_permuted_options_have_permuted_probabilities(tiny_base, make_model, questions):
    model = make_model(tiny_base)
    question = questions[0]
    expected = dict(zip(question.options, _score(model, [question])[0].softmax(0).tolist(), strict=True))
    for options in itertools.permutations(question.options):
        found = _score(model, [Question("p", question.text, options)])[0].softmax(0).tolist()
        assert found == pytest.approx([expected[option] for option in options], abs=1e-5)


def test_the_head_reads_only_the_states_that_option_tokens_follow(tiny_base, make_model, questions, monkeypatch):
    model = make_model(tiny_base)
    rows: list[int] = []
    tiny_base.model.lm_head.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0][..., 0].numel()))
    encoded = [model.scorer.encode(question) for question in questions]
    whole = _score(model, questions)
    option_tokens = sum(sum(question.is_option) for question in encoded)
    firsts = sum(question.options for question in encoded)
    assert rows == [option_tokens - firsts + len(encoded)]  # the first tokens of all options follow one state

    rows.clear()
    monkeypatch.setattr(cloze, "HEAD_BYTES", 3 * 4 * tiny_base.model.config.vocab_size)
    torch.testing.assert_close(_score(model, questions), whole, rtol=0, atol=1e-6)
    assert max(rows) == 3


def test_a_chunked_head_has_the_same_gradient(tiny_base, make_model, questions, monkeypatch):
    model = make_model(tiny_base, training=True)
    batch = collate([model.scorer.encode(question) for question in questions])
    weights = list(model.adapter_tensors().values())

    def gradients():
        return torch.autograd.grad(model(batch).logits.logsumexp(dim=1).sum(), weights)

    whole = gradients()
    monkeypatch.setattr(cloze, "HEAD_BYTES", 3 * 4 * tiny_base.model.config.vocab_size)
    for one, other in zip(whole, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_options_start_at_the_position_after_the_question(tiny_base, make_model, questions):
    model = make_model(tiny_base)
    encoded = model.scorer.encode(questions[2])
    shared = encoded.branches.count(0)
    assert encoded.positions[:shared] == tuple(range(shared))
    for branch in range(1, 6):
        places = [place for place, own in enumerate(encoded.branches) if own == branch]
        assert [encoded.positions[place] for place in places] == list(range(shared, shared + len(places)))
    assert encoded.is_option == tuple(branch > 0 for branch in encoded.branches)


def test_the_limit_counts_all_options_and_nothing_is_cut(tiny_tokenizer, questions):
    length = build_scorer(ClozeConfig(), TextEncoder(tiny_tokenizer), 512).encode(questions[2]).length
    exact = build_scorer(ClozeConfig(max_tokens=length), TextEncoder(tiny_tokenizer), 512)
    assert exact.encode(questions[2]).length == length
    short = build_scorer(ClozeConfig(), TextEncoder(tiny_tokenizer), length - 1)
    with pytest.raises(
        QuestionTooLongError, match=f"with its options has {length} tokens, but the limit is {length - 1}"
    ):
        short.encode(questions[2])


def test_the_models_window_bounds_the_limit(tiny_base, make_model):
    assert make_model(tiny_base, ClozeConfig(max_tokens=100_000)).scorer.token_limit == tiny_base.window == 1024


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_feature_is_the_mean_state_of_the_options_own_tokens(tiny_base, make_model, questions, side):
    """Against each option in its own sequence, by the decoder's own output."""
    model = make_model(tiny_base)
    batch = collate([model.scorer.encode(question) for question in questions], padding_side=side)
    with torch.no_grad():
        output, features = model.run_with_features(model.plan(batch))
        assert torch.equal(output.logits, model(batch).logits)
    encoder = TextEncoder(tiny_base.tokenizer)
    for question, row in zip(questions, features, strict=True):
        context = f"{question.context}\n" if question.context else ""
        prefix = encoder.encode(f"{context}Question: {question.text}\nAnswer:").ids
        for option, ours in zip(question.options, row, strict=False):
            whole = encoder.encode(f"{context}Question: {question.text}\nAnswer: {option}").ids
            with torch.no_grad(), adapter_forward(model.adapter):
                states = tiny_base.model.get_decoder()(torch.tensor([whole]), use_cache=False).last_hidden_state[0]
            torch.testing.assert_close(ours, states[len(prefix) :].mean(dim=0), rtol=0, atol=2e-5)
        assert (row[len(question.options) :] == 0).all()
