"""Questions per key and minute, against a hand calculation."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.access.fake_clocks import FakeTime
from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Start
from tests.service.problem_documents import QUESTION, problem
from uq4ct.service.access.rate_limit import RateLimitedError, RateLimiter

BATCH = {"questions": [QUESTION] * 4}


def refusal(limiter: RateLimiter, key: str | None, questions: int = 1, **options: int) -> int | None:
    """Return the limiter's `retry_after` in seconds; None if it admits the questions."""
    try:
        limiter.take(key, questions, **options)
    except RateLimitedError as error:
        return error.retry_after
    return None


def test_by_hand() -> None:
    time = FakeTime()
    limiter = RateLimiter(6, time.clocks.monotonic_ns)  # one question every ten seconds, six at once
    assert [refusal(limiter, "a") for _ in range(7)] == [None] * 6 + [10]
    time.advance(4)
    assert refusal(limiter, "a") == 6
    time.advance(5.999)
    assert refusal(limiter, "a") == 1  # 9.999 of 10 seconds
    time.advance(0.001)
    assert refusal(limiter, "a") is None
    assert refusal(limiter, "a", 6) == 60  # from empty to full
    time.advance(1000)
    assert refusal(limiter, "a", 4) is None  # never more than full, however long it was unused
    assert refusal(limiter, "a", 3) == 10
    assert refusal(limiter, "a", 2) is None  # the rejected request took nothing
    assert refusal(limiter, "b", 6) is None  # another key has its own bucket


def test_what_a_request_took_before_is_put_back_first() -> None:
    limiter = RateLimiter(6, FakeTime().clocks.monotonic_ns)
    limiter.take("a", 1)
    assert refusal(limiter, "a", 6, put_back=1) is None
    assert refusal(limiter, "a", 7, put_back=6) == 10
    assert refusal(limiter, "a", 6) is None  # all six were put back


@settings(deadline=None)
@given(
    st.integers(1, 1_000_000),
    st.lists(st.tuples(st.integers(0, 120_000_000_000), st.integers(1, 2000)), min_size=1, max_size=30),
)
def test_the_same_as_exact_fractions_and_the_wait_is_enough(limit: int, steps: list[tuple[int, int]]) -> None:
    now = 0
    level = Fraction(limit)
    limiter = RateLimiter(limit, lambda: now)
    for pause, asked in steps:
        questions = min(asked, limit)
        now += pause
        level = min(level + Fraction(pause * limit, 60 * 10**9), Fraction(limit))
        wait = refusal(limiter, "a", questions)
        assert (wait is None) == (level >= questions)
        if wait is not None:
            assert 1 <= wait <= 60
            assert Fraction((wait - 1) * limit, 60) < questions - level <= Fraction(wait * limit, 60)
            now += wait * 10**9
            level = min(level + Fraction(wait * limit, 60), Fraction(limit))
            assert refusal(limiter, "a", questions) is None
        level -= questions


def test_memory_is_bounded_and_the_latest_keys_are_kept() -> None:
    time = FakeTime()
    limiter = RateLimiter(1, time.clocks.monotonic_ns, most_buckets=100)
    for number in range(10_000):
        assert refusal(limiter, f"key {number}") is None
        assert refusal(limiter, "always there") == (None if number == 0 else 60)
    assert refusal(limiter, "key 9901") == 60  # with "always there", the latest 100 keys are kept
    assert refusal(limiter, "key 9900") is None
    assert refusal(limiter, "key 0") is None


@pytest.mark.anyio
async def test_429_and_the_wait_it_names_is_enough(start: Start, tmp_path: Path) -> None:
    time = FakeTime()
    keys = KeyHolder(tmp_path)
    first, second = keys.new("predict", key_id="first"), keys.new("predict", key_id="second")
    limits: dict[str, Any] = {"rate_limit_per_minute": 6, "max_client_batch_size": 6}
    async with start(api_keys_file=keys.file, clocks=time.clocks, **limits) as replica:
        ask = replica.client.post
        assert (await ask("/predict/batch", json=BATCH, headers=first)).status_code == 200  # 2 left
        refused = await ask("/predict/batch", json=BATCH, headers=first)
        assert problem(refused, 429, "rate-limited")["limit"] == 6
        assert refused.headers["retry-after"] == "20"  # 2 of 4 are missing, at 10 seconds each
        assert replica.sample("rejected_total", reason="rate_limited") == 4
        assert (await ask("/predict", json=QUESTION, headers=second)).status_code == 200
        time.advance(20)
        assert (await ask("/predict/batch", json=BATCH, headers=first)).status_code == 200
        refused = await ask("/predict", json=QUESTION, headers=first)
        problem(refused, 429, "rate-limited")
        assert replica.sample("rejected_total", reason="rate_limited") == 5
        assert (await replica.client.get("/models", headers=first)).status_code == 200  # asks no question
        time.advance(int(refused.headers["retry-after"]))
        assert (await ask("/predict", json=QUESTION, headers=first)).status_code == 200


@pytest.mark.anyio
async def test_an_empty_bucket_is_seen_before_the_body(start: Start) -> None:
    async with start(rate_limit_per_minute=1, max_client_batch_size=1, clocks=FakeTime().clocks) as replica:
        headers = {"content-type": "application/json"}
        assert (await replica.client.post("/predict", content=b"{", headers=headers)).status_code == 400
        # The unreadable body counted as a question; the next one is not read.
        problem(await replica.client.post("/predict", content=b"{", headers=headers), 429, "rate-limited")


@pytest.mark.anyio
async def test_without_keys_all_callers_share_one_bucket(start: Start) -> None:
    async with start(rate_limit_per_minute=2, max_client_batch_size=2, clocks=FakeTime().clocks) as replica:
        codes = [
            (await replica.client.post("/predict", json=QUESTION, headers={"authorization": f"Bearer {n}"})).status_code
            for n in range(3)
        ]
    assert codes == [200, 200, 429]
