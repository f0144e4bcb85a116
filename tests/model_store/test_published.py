from __future__ import annotations

import gc
import shutil
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.manifests import make_draft
from uq4ct.model_store.adapted_model import build_frozen
from uq4ct.model_store.base.errors import BaseModelError
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.model_store.published import AdapterHost, WrongBaseError, load_predictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring import encoding
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.threads import computing_with

SHAPES = [
    {"seed": 1},
    {"seed": 2, "scoring": LetterConfig()},
    {"seed": 3, "adapter": {"experts": 1, "top_k": 1, "targets": ("q_proj",)}},
    {"seed": 4, "scoring": ClozeConfig(reduction="sum"), "adapter": {"experts": 2, "top_k": 1, "rank": 3}},
    {"seed": 5, "adapter": {"placement": "block", "mixing": "renormalised"}},
]


@pytest.fixture
def host(tiny_base):
    return AdapterHost(tiny_base)


def answers(predictor, questions):
    return predictor.answer([predictor.encode(question) for question in questions])


def load_alone(published):
    return load_predictor(published.reference, published.registry.root, device="cpu", dtype="float32")


def alone(published, questions):
    """Return the answers of an adapter that has its own base model."""
    return answers(
        load_predictor(published.reference, published.registry.root, device="cpu", dtype="float32"), questions
    )


def plain_output(base):
    with torch.inference_mode():
        return base.model(input_ids=torch.arange(12).unsqueeze(0), use_cache=False).logits


def adapter_parameters(base):
    return [name for name, _ in base.model.named_parameters() if "@" in name]


def test_adapters_side_by_side_answer_as_each_alone_to_the_bit(host, publish_tiny, questions):
    published = [publish_tiny("tiny.one", **shape) for shape in SHAPES]
    expected = [alone(one, questions) for one in published]
    assert len({str(one) for one in expected}) == len(SHAPES)
    loaded = [host.add(one.registry.load(one.reference)) for one in published]
    for order in (range(len(loaded)), reversed(range(len(loaded)))):
        for index in order:
            assert answers(loaded[index], questions) == expected[index]
    assert [one.manifest for one in loaded] == [one.manifest for one in published]


def test_names_that_differ_in_a_dot_are_two(host, publish_tiny, questions):
    one, two = publish_tiny("a.b", seed=1), publish_tiny("a-b", seed=2)
    loaded = [host.add(published.registry.load(published.reference)) for published in (one, two)]
    assert [answers(predictor, questions) for predictor in loaded] == [alone(one, questions), alone(two, questions)]


def test_removing_restores_the_base_and_leaves_the_others(host, tiny_base, publish_tiny, questions):
    untouched = plain_output(tiny_base)
    parameters = sum(parameter.numel() for parameter in tiny_base.model.parameters())
    first, second = publish_tiny(seed=1), publish_tiny(seed=2)
    stored = [published.registry.load(published.reference) for published in (first, second)]
    one = None
    for _ in range(3):
        one, two = host.add(stored[0]), host.add(stored[1])
        host.remove(one)
        assert answers(two, questions) == alone(second, questions)
        host.remove(two)
        assert adapter_parameters(tiny_base) == []
        assert sum(parameter.numel() for parameter in tiny_base.model.parameters()) == parameters
        assert torch.equal(plain_output(tiny_base), untouched)
    assert one is not None
    with pytest.raises(KeyError):
        host.remove(one)


def test_a_version_that_is_there_is_not_added_twice(host, published_tiny, questions):
    stored = published_tiny.registry.load(published_tiny.reference)
    predictor = host.add(stored)
    with pytest.raises(ValueError, match="tiny@1' is already injected"):
        host.add(stored)
    assert answers(predictor, questions) == alone(published_tiny, questions)


def test_what_cannot_be_added_leaves_nothing_behind(
    host, tiny_base, publish_tiny, make_base_folder, tmp_path, questions
):
    good = publish_tiny(seed=1)
    stored = good.registry.load(good.reference)
    unfit = replace(stored, tensors={name: torch.zeros(1) for name in stored.tensors})
    with pytest.raises(ValueError, match="shape"):
        host.add(unfit)  # the very first, when there is no tuner yet
    assert adapter_parameters(tiny_base) == []
    predictor = host.add(stored)
    other = load_base_model(str(make_base_folder(tmp_path / "other", seed=9)), device="cpu", dtype="float32")
    with pytest.raises(WrongBaseError, match="tiny@1 was trained on"):
        AdapterHost(other).add(stored)
    assert answers(predictor, questions) == alone(good, questions)


def test_a_base_that_was_moved_is_found_by_its_digest(
    tiny_folder, make_model, make_base_folder, tmp_path, questions, monkeypatch
):
    """Named as an argument or by the environment; another base is refused."""
    there = shutil.copytree(tiny_folder, tmp_path / "there")
    base = load_base_model(str(there), device="cpu", dtype="float32")
    model = make_model(base)
    draft = make_draft("tiny", base=base.identity, adapter=model.config, scoring=ClozeConfig())
    registry = Registry(tmp_path / "store")
    registry.publish(draft, model.adapter_tensors(), {}, promote=True)
    load = partial(load_predictor, "tiny", registry.root, device="cpu", dtype="float32")
    expected = load().ask_all(questions)
    moved = there.rename(tmp_path / "moved")
    with pytest.raises(BaseModelError, match="set UQ4CT_BASE_FOLDERS or --base-folders"):
        load()
    assert load(base_folders=[str(moved)]).ask_all(questions) == expected
    other = make_base_folder(tmp_path / "other", seed=9)
    with pytest.raises(BaseModelError, match=f"{base.identity.digest}: {other} has digest sha256:"):
        load(base_folders=[other])
    monkeypatch.setenv("UQ4CT_BASE_FOLDERS", f"{other}:{moved}")
    assert load().ask_all(questions) == expected


def test_memory_is_what_the_weights_take(host, publish_tiny):
    published = publish_tiny()
    stored = published.registry.load(published.reference)
    numbers = sum(tensor.numel() for tensor in stored.tensors.values())
    assert host.add(stored).memory_bytes == stored.memory_bytes == 4 * numbers


def test_questions_are_asked_without_tokens_showing(publish_tiny, questions):
    predictor = load_alone(publish_tiny())
    expected = answers(predictor, questions)
    assert [predictor.ask(question).option for question in questions] == [answer.option for answer in expected]
    for answer, alone in zip(predictor.ask_all(questions), expected, strict=True):
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 60])
def test_answers_come_in_the_order_of_the_questions(publish_tiny, questions, batch_tokens):
    predictor = load_alone(publish_tiny())
    asked = [*reversed(questions), *questions]
    found = predictor.ask_all(iter(asked), batch_tokens=batch_tokens)
    assert [len(answer.probabilities) for answer in found] == [len(question.options) for question in asked]
    for answer, question in zip(found, asked, strict=True):
        assert answer.probabilities == pytest.approx(predictor.ask(question).probabilities, abs=1e-5)
    assert predictor.ask_all([]) == []


def test_a_question_that_is_too_long_is_refused_before_any_is_answered(publish_tiny, questions, monkeypatch):
    predictor = load_alone(publish_tiny())
    monkeypatch.setattr(predictor, "answer", lambda _: pytest.fail("answered"))
    with pytest.raises(QuestionTooLongError):
        predictor.ask_all([*questions, Question("q", "long " * 600, ("a", "b"))])


def test_the_store_is_that_of_the_environment_unless_one_is_given(publish_tiny, questions, monkeypatch, tmp_path):
    published = publish_tiny()
    monkeypatch.setenv("UQ4CT_MODEL_STORE_DIR", str(published.registry.root))
    loaded = load_predictor("tiny", device="cpu", dtype="float32")
    assert loaded.manifest == published.manifest
    assert loaded.manifest == load_predictor("tiny", str(published.registry.root), device="cpu").manifest


def test_a_store_that_does_not_exist_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("UQ4CT_MODEL_STORE_DIR", raising=False)
    monkeypatch.setenv("MODEL_STORE_DIR", "/of another program")
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "model_store" / "artifacts" / "adapters"
    with pytest.raises(StoreError, match=f"no model store at {place}; pass its directory or set UQ4CT_MODEL_STORE_DIR"):
        load_predictor("quickstart")
    with pytest.raises(StoreError, match=r"no model store at .*elsewhere"):
        load_predictor("quickstart", tmp_path / "elsewhere")


def count_calls(run):
    """Return what a function returns and the number of calls of functions in it, Python's and C's: its work.

    The garbage collector is off meanwhile: the finalizers of earlier tests' garbage would be counted too.
    """
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    gc.disable()
    sys.setprofile(count)
    try:
        result = run()
    finally:
        sys.setprofile(None)
        gc.enable()
    return result, calls


def test_the_work_of_a_load_and_of_its_end_is_the_same_however_many_are_loaded(host, publish_tiny):
    stored = [one.registry.load(one.reference) for one in (publish_tiny(seed=seed) for seed in range(12))]
    host.add(stored[0])  # the first changes the base model's layers
    added, adding, reading, removing = [], [], [], []
    for one in stored[1:]:
        predictor, calls = count_calls(partial(host.add, one))
        added.append(predictor)
        adding.append(calls)
        reading.append(count_calls(lambda: predictor.memory_bytes)[1])  # noqa: B023
    for predictor in reversed(added):
        removing.append(count_calls(partial(host.remove, predictor))[1])
    for calls in (adding, reading, removing):
        assert max(calls) <= 1.01 * min(calls), calls


def test_preparing_computes_in_one_thread(host, publish_tiny, monkeypatch):
    seen = []

    def build(*arguments):
        seen.append(torch.get_num_threads())
        return build_frozen(*arguments)

    monkeypatch.setattr("uq4ct.model_store.published.build_frozen", build)
    published = publish_tiny()
    with computing_with(2):
        host.prepare(published.registry.load(published.reference))
        assert torch.get_num_threads() == 2
    assert seen == [1]


def test_preparing_leaves_the_base_alone_and_attaching_copies_nothing(host, publish_tiny):
    one, two = (published.registry.load(published.reference) for published in (publish_tiny(seed=1), publish_tiny()))
    host.add(one)
    modules = [name for name, _ in host.base.model.named_modules()]
    prepared = host.prepare(two)
    assert [name for name, _ in host.base.model.named_modules()] == modules
    weights = {name: weight.data_ptr() for name, weight in prepared.parts.tensors().items()}
    attached = host.attach(prepared).predictor.model.adapter_tensors()
    assert {name: weight.data_ptr() for name, weight in attached.items()} == weights
    assert not any(weight.requires_grad for weight in attached.values())


def test_all_adapters_share_one_tokenizer(tiny_base, publish_tiny, monkeypatch):
    built = []
    original = encoding.plain_tokenizer
    monkeypatch.setattr(encoding, "plain_tokenizer", lambda tokenizer: built.append(1) or original(tokenizer))
    host = AdapterHost(tiny_base)
    for seed in (1, 2, 3):
        published = publish_tiny(seed=seed, scoring=LetterConfig() if seed == 2 else None)
        host.add(published.registry.load(published.reference))
    assert built == [1] * (1 + 3)  # one for the host, and one for each model that was published


def tensor_bytes():
    """Return the memory of all tensors that are alive, in bytes."""
    gc.collect()
    alive = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    return sum({s.data_ptr(): s.nbytes() for s in (tensor.untyped_storage() for tensor in alive)}.values())


@pytest.mark.parametrize("posterior", [PointConfig(), DropoutConfig(samples=3, share=0.1, seed=1)])
def test_the_memory_held_is_the_memory_counted(host, publish_tiny, posterior):
    published = publish_tiny(posterior=posterior)
    host.add(publish_tiny(seed=2).registry.load("tiny@2"))
    before = tensor_bytes()
    predictor = host.add(published.registry.load(published.reference))
    predictor.ask(Question("q", "What?", ("a", "b")))
    assert tensor_bytes() - before == pytest.approx(predictor.memory_bytes, rel=0.05)
