"""The sequential tests in the ledger: each label counts once, in any order of commits and on any replica."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import func, select

from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Start
from tests.service.ledger.conftest import insert, insert_label, label_row, make_record
from tests.service.ledger.postgres import PostgresServer
from uq4ct.model_store.uncertainty.selective import binomial_upper_bound
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.monitor import count_labels, read_tests
from uq4ct.service.ledger.retention import delete_all
from uq4ct.service.ledger.sequential import TESTS, CountedLabel, RunningTest, log_bar
from uq4ct.service.ledger.tables import labels
from uq4ct.service.records import PredictionRecord

ALPHA = 0.05
BOUND = 0.3
Labelled = tuple[PredictionRecord, bool, int]  # the prediction, whether it was right, when its label came


def bound_of(model: str, version: int) -> float | None:
    return BOUND


def put_labels(
    database: Database, number: int, seed: int = 0, accuracy: float = 0.6, **changes: object
) -> list[Labelled]:
    """Insert predictions with labels, ordered by label time; several share a time, and ids are not in order."""
    draw = random.Random(seed)
    records = [make_record(confidence=draw.uniform(0.5, 1.0), **changes) for _ in range(number)]
    insert(database, *records)
    labelled = [(record, draw.random() < accuracy, draw.randrange(number // 2)) for record in records]
    rows = [label_row(record, int(right), moment) for record, right, moment in labelled]
    with database.transaction() as connection:
        connection.execute(database.insert_new(labels), rows)
    return sorted(labelled, key=lambda label: (label[2], label[0].prediction_id))


def one_pass(labelled: Sequence[Labelled], version: int = 1, tenant: str | None = None) -> list[RunningTest]:
    """Return the tests after these labels, in this order, one after the other."""
    tests = []
    for name in TESTS:
        test = RunningTest(tenant, "toy", version, name, BOUND if name == "error_rate" else None, labelled[0][2])
        for record, correct, moment in labelled:
            test = test.after([CountedLabel(record.confidence, correct, moment)], ALPHA)
        tests.append(test)
    return tests


def by_name(tests: Sequence[RunningTest]) -> list[RunningTest]:
    return sorted(tests, key=lambda test: (test.model, test.version, test.test))


def count_all(database: Database, limit: int = 1000) -> int:
    total = 0
    while counted := count_labels(database, ALPHA, bound_of, limit):
        total += counted
    return total


@pytest.mark.parametrize("limit", [7, 1000])
def test_rounds_and_restarts_give_what_one_pass_gives(database: Database, url: str, limit: int) -> None:
    labelled = put_labels(database, 120)
    while True:
        restarted = Database(url)  # progress is stored only in the ledger
        counted = count_labels(restarted, ALPHA, bound_of, limit)
        restarted.close()
        if not counted:
            break
    assert by_name(read_tests(database, None)) == by_name(one_pass(labelled))
    assert any(test.alarmed_ms is not None for test in read_tests(database, None))


@pytest.mark.parametrize("limit", [7, 1000])
def test_versions_and_tenants_have_tests_of_their_own_and_one_family_is_over_all(
    database: Database, limit: int
) -> None:
    a, b = (put_labels(database, 40, seed=seed, tenant=tenant) for seed, tenant in ((1, "a"), (2, "b")))
    both = sorted([*a, *b], key=lambda one: (one[2], one[0].prediction_id))
    second = put_labels(database, 40, seed=3, version=2, tenant="a")
    assert count_all(database, limit) == 120
    expected = {
        "a": [*one_pass(a, tenant="a"), *one_pass(second, version=2, tenant="a")],
        "b": one_pass(b, tenant="b"),
        None: [*one_pass(both), *one_pass(second, version=2)],
        "c": [],
    }
    for tenant, tests in expected.items():
        assert by_name(read_tests(database, tenant)) == by_name(tests)


def test_wrong_labels_of_one_tenant_alarm_it_and_not_another(database: Database) -> None:
    for number in range(30):
        liar, honest = (make_record(tenant=tenant, confidence=0.8) for tenant in ("liar", "honest"))
        insert(database, liar, honest)
        insert_label(database, liar, 1 - liar.option)
        insert_label(database, honest, honest.option if number % 5 else 1 - honest.option)
    assert count_all(database) == 60
    evidence = {
        tenant: {test.test: test for test in read_tests(database, tenant)} for tenant in ("liar", "honest", None)
    }
    assert evidence["liar"]["overconfident"].alarmed_ms is not None
    assert {test.alarmed_ms for test in evidence["honest"].values()} == {None}
    assert {test.wealth.labels for test in evidence["honest"].values()} == {30}
    assert evidence["honest"]["overconfident"].wealth.log_evidence < log_bar(ALPHA) / 2
    assert {test.wealth.labels for test in evidence[None].values()} == {60}


def test_a_label_that_commits_late_is_counted_late_and_once(database: Database) -> None:
    young, old = make_record(), make_record()
    insert(database, young, old)
    insert_label(database, young, 1, delay_ms=5000)
    assert count_all(database) == 1
    insert_label(database, old, 0, delay_ms=-60_000)  # from a replica whose clock runs behind
    assert count_all(database) == 1
    assert count_all(database) == 0
    labelled = [(young, True, young.created_ms + 5000), (old, False, old.created_ms - 60_000)]
    assert by_name(read_tests(database, None)) == by_name(one_pass(labelled))


def test_a_label_not_yet_committed_is_not_passed_over(postgres: PostgresServer) -> None:
    database = Database(postgres.empty_ledger())
    first, late = make_record(), make_record()
    insert(database, first, late)
    with database.engine.begin() as other:
        other.execute(database.insert_new(labels), label_row(late, late.option, 1))
        insert_label(database, first, 1)
        assert count_all(database) == 1
    assert count_all(database) == 1
    assert {test.wealth.labels for test in read_tests(database, None)} == {2}
    database.close()


def test_replicas_count_nothing_twice(database: Database, url: str) -> None:
    put_labels(database, 600)
    counted: list[int] = []
    barrier = threading.Barrier(3)

    def count() -> None:
        own = Database(url)
        barrier.wait()
        for _ in range(40):
            counted.append(count_labels(own, ALPHA, bound_of, 20))
        own.close()

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted.append(count_all(database))  # labels left over because another replica was counting
    assert sum(counted) == 600
    assert [test.wealth.labels for test in read_tests(database, None)] == [600] * 3


def test_only_one_replica_at_a_time_counts(postgres: PostgresServer) -> None:
    url = postgres.empty_ledger()
    database, other = Database(url), Database(url)
    put_labels(database, 10)
    during: list[int] = []

    def meanwhile(model: str, version: int) -> float:
        during.append(count_labels(other, ALPHA, bound_of))
        return BOUND

    assert count_labels(database, ALPHA, meanwhile) == 10
    assert during == [0]
    for one in (database, other):
        one.close()


def test_a_round_that_fails_counts_nothing(database: Database) -> None:
    labelled = put_labels(database, 30)

    def fail(model: str, version: int) -> float:
        raise RuntimeError("the process was killed here")

    with pytest.raises(RuntimeError, match="killed here"):
        count_labels(database, ALPHA, fail)
    assert read_tests(database, None) == []
    with database.transaction() as connection:
        assert connection.scalar(select(func.count()).select_from(labels).where(labels.c.counted)) == 0
    assert count_all(database) == 30
    assert by_name(read_tests(database, None)) == by_name(one_pass(labelled))


def test_what_retention_deletes_stays_counted(database: Database) -> None:
    put_labels(database, 30)
    count_all(database)
    before = read_tests(database, None)
    assert delete_all(database, before_ms=2**45) == 30
    assert count_all(database) == 0
    assert read_tests(database, None) == before


def test_without_a_manifest_the_error_rate_waits(database: Database) -> None:
    put_labels(database, 30)
    assert count_labels(database, ALPHA, lambda model, version: None, 10) == 10
    assert {test.test: test.wealth.labels for test in read_tests(database, None)} == {
        "overconfident": 10,
        "underconfident": 10,
    }
    count_all(database)
    counts = {test.test: test.wealth.labels for test in read_tests(database, None)}
    assert counts == {"overconfident": 30, "underconfident": 30, "error_rate": 20}


def test_the_bound_of_the_start_lasts(database: Database) -> None:
    put_labels(database, 20)
    count_labels(database, ALPHA, bound_of, 5)
    count_labels(database, ALPHA, lambda model, version: 0.9, 100)
    assert [test.bound for test in by_name(read_tests(database, None))] == [BOUND, None, None]


@pytest.mark.anyio
async def test_a_tenant_sees_only_its_own_tests(start: Start, url: str, database: Database, keys: KeyHolder) -> None:
    headers = {tenant: keys.new("predict", key_id=tenant, tenant=tenant) for tenant in ("liar", "honest", "new")}
    headers["operator"] = keys.new("admin", key_id="operator", tenant="operator")
    put_labels(database, 60, accuracy=0.0, tenant="liar")
    put_labels(database, 40, accuracy=0.75, tenant="honest")
    insert(database, make_record(tenant="new"))
    async with start(database_url=url, api_keys_file=keys.file) as replica:
        alarm = {"model": "toy", "version": "1", "test": "overconfident"}
        await replica.settle(lambda: replica.sample("sequential_log_evidence", **alarm))
        seen = {}
        for name, header in headers.items():
            response = await replica.client.get("/calibration", headers=header)
            (cohort,) = response.json()["models"]
            seen[name] = {one["test"]: (one["labels"], one["alarm"]) for one in cohort["sequential"]}
        assert seen["liar"]["overconfident"] == (60, True)
        assert set(seen["honest"].values()) == {(40, False)}
        assert seen["new"] == {}
        assert {labels for labels, _ in seen["operator"].values()} == {100}
        assert replica.sample("sequential_alarm", **alarm) == seen["operator"]["overconfident"][1]
        assert "liar" not in (await replica.client.get("/metrics")).text


@pytest.mark.anyio
async def test_a_server_counts_and_shows_its_tests(start: Start, url: str, database: Database) -> None:
    put_labels(database, 400, accuracy=0.3, version=2)
    async with start(database_url=url, error_rate_margin=0.1) as replica:
        shown = {"model": "toy", "version": "2"}
        await replica.settle(lambda: replica.sample("sequential_alarm", **shown, test="overconfident") == 1)
        (cohort,) = (await replica.client.get("/calibration")).json()["models"]
        tests = {test.test: test for test in read_tests(database, None)}
        # The store's reference has 7 errors in 20 questions, so its uncertainty outweighs the margin.
        assert tests["error_rate"].bound == pytest.approx(binomial_upper_bound(7, 20, 0.025))
        assert {one["test"] for one in cohort["sequential"]} == set(TESTS)
        for one in cohort["sequential"]:
            test = tests[one["test"]]
            assert one["log_evidence"] == test.wealth.log_evidence
            assert replica.sample("sequential_log_evidence", **shown, test=test.test) == test.wealth.log_evidence
            assert replica.sample("sequential_alarm", **shown, test=test.test) == one["alarm"]
            assert (one["labels"], one["since"]) == (400, "1970-01-01T00:00:00Z")
            assert (one["alarmed_at"] is not None) == one["alarm"] == (test.test != "underconfident")
