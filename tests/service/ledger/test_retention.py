from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
from sqlalchemy import make_url, select

from tests.service.conftest import Start
from tests.service.ledger.conftest import count_rows, id_of_age, insert, insert_label, make_record
from tests.service.ledger.postgres import PostgresServer
from uq4ct.service.access.clocks import Clocks
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import ClockJumpedError
from uq4ct.service.ledger.retention import (
    LONGEST_PAUSE_DAYS,
    accept_clock,
    delete_all,
    delete_step,
    oldest_kept_ms,
)
from uq4ct.service.ledger.tables import labels, predictions

DAY = 86_400_000


@pytest.mark.parametrize("others", ["on", "off"])
def test_a_step_takes_no_more_than_it_says_however_postgres_plans_it(postgres: PostgresServer, others: str) -> None:
    """A nested loop runs a subquery again for each row; each run would lock and delete other rows."""
    options = " ".join(
        f"-c enable_{plan}={others}" for plan in ("hashjoin", "mergejoin", "hashagg", "sort", "material")
    )
    url = make_url(postgres.empty_ledger()).update_query_dict({"options": options})
    with closing(Database(url.render_as_string(hide_password=False))) as database:
        insert(database, *(make_record(prediction_id=id_of_age(days)) for days in (50, 40, 35, 31)))
        assert [delete_step(database, make_record().created_ms, step=3) for _ in range(3)] == [3, 1, 0]


def test_steps_take_the_oldest_with_their_labels(database: Database) -> None:
    old = [make_record(prediction_id=id_of_age(days)) for days in (50, 40, 35, 31)]
    young = [make_record(prediction_id=id_of_age(days)) for days in (29, 1)]
    insert(database, *old, *young)
    for record in (old[0], old[3], young[0]):
        insert_label(database, record, 0)
    before = young[1].created_ms - 29 * DAY
    assert [delete_step(database, before, step=3) for _ in range(3)] == [3, 1, 0]
    assert count_rows(database) == (2, 1)
    with database.transaction() as connection:
        kept = set(connection.scalars(select(predictions.c.prediction_id)))
        labelled = set(connection.scalars(select(labels.c.prediction_id)))
    assert kept == {record.prediction_id for record in young}
    assert labelled == {young[0].prediction_id}


def test_two_replicas_share_the_work(url: str, database: Database) -> None:
    insert(database, *(make_record(prediction_id=id_of_age(50)) for _ in range(2000)))
    deleted: list[int] = []

    def prune() -> None:
        own = Database(url)
        deleted.append(delete_all(own, before_ms=oldest_kept_ms(make_record().created_ms, 30)))
        own.close()

    threads = [threading.Thread(target=prune) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(deleted) == 2000
    assert count_rows(database) == (0, 0)


def test_a_row_in_use_is_passed_over(postgres: PostgresServer) -> None:
    database = Database(postgres.empty_ledger())
    old = [make_record(prediction_id=id_of_age(days)) for days in (50, 40, 35)]
    insert(database, *old)
    with database.engine.connect() as other:
        other.execute(select(predictions).where(predictions.c.prediction_id == old[0].prediction_id).with_for_update())
        assert delete_step(database, before_ms=old[2].created_ms + DAY) == 2
    assert count_rows(database) == (1, 0)
    database.close()


@pytest.mark.anyio
async def test_a_server_deletes_in_the_background(start: Start, url: str, database: Database) -> None:
    insert(database, *(make_record(prediction_id=id_of_age(31)) for _ in range(700)), make_record())
    async with start(database_url=url, retention_days=30) as replica:
        await replica.settle(lambda: count_rows(database) == (1, 0))


def test_retention_stops_after_a_jump_of_the_clock(database: Database) -> None:
    """However the clock got there, also after a restart, and until it is back or a person confirms it."""
    now = make_record().created_ms
    accept_clock(database, now)
    accept_clock(database, now + LONGEST_PAUSE_DAYS * DAY)
    now += LONGEST_PAUSE_DAYS * DAY
    for ahead in (LONGEST_PAUSE_DAYS * DAY + 1, 365 * DAY):
        with pytest.raises(ClockJumpedError, match="more than 7 days earlier; if the clock is right"):
            accept_clock(database, now + ahead)
    accept_clock(database, now - 365 * DAY)  # deletes less than usual, and does not count as the last time
    accept_clock(database, now + DAY)
    accept_clock(database, now + 365 * DAY, insist=True)
    accept_clock(database, now + 366 * DAY)


@pytest.mark.anyio
async def test_a_start_with_a_clock_ahead_deletes_nothing_and_says_so(
    url: str, database: Database, caplog: pytest.LogCaptureFixture, start: Start
) -> None:
    """Also after the wrong clock has stored predictions, which are then the newest of the ledger."""
    ahead = Clocks(wall=lambda: time.time() + 365 * 86_400)
    insert(database, *(make_record(prediction_id=id_of_age(days)) for days in (29, 1)))
    caplog.set_level("INFO")
    for clocks, age, stops in ((None, 0, 0), (ahead, -365, 1), (ahead, -365, 1)):
        insert(database, make_record(prediction_id=id_of_age(age)))
        before = count_rows(database)
        async with start(database_url=url, retention_days=30, clocks=clocks) as replica:
            await replica.settle(lambda: any(record.message.startswith("retention") for record in caplog.records))
        assert count_rows(database) == before
        assert sum(record.message == "retention stopped" for record in caplog.records) == stops
        caplog.clear()
