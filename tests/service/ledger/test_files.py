"""The files of an SQLite ledger: for their owner only, and missed as soon as someone removes or replaces them."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.service.conftest import Replica, Start
from tests.service.ledger.conftest import count_rows, insert, make_record
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.export import export_lines, write_lines
from uq4ct.service.ledger.failures import LedgerFileError, LedgerUnavailableError
from uq4ct.service.ledger.ledger import Ledger
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.ledger.probing import probe_write
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.metrics import Metrics

FAST: dict[str, Any] = {"ledger_flush_seconds": 0.05}


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


def companions(file: Path) -> list[Path]:
    """The write-ahead log and its index."""
    return [file.with_name(file.name + suffix) for suffix in ("-wal", "-shm")]


def remove(file: Path) -> None:
    for path in (file, *companions(file)):
        path.unlink()


def replace_by_copy(file: Path) -> None:
    """Restore a backup over the ledger, as an operator might."""
    shutil.copy(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)


def move_away(file: Path) -> None:
    file.replace(file.with_suffix(".moved"))


@pytest.fixture
def file(empty_ledger: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_ledger, tmp_path / "own.sqlite3"))


async def label(replica: Replica, prediction_id: str) -> Any:
    return await replica.post("/feedback", {"prediction_id": prediction_id, "answer": 0})


async def first_answer(replica: Replica) -> str:
    """Ask, and return the id of an answer that is in the ledger."""
    answer = (await replica.ask()).json()["prediction_id"]
    await replica.context.ledger.flush()
    return answer


@pytest.mark.anyio
@pytest.mark.parametrize("harm", [remove, replace_by_copy, move_away])
async def test_a_ledger_that_is_removed_or_replaced_is_not_used_silently(
    start: Start, file: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with start(database_url=url_of(file), **FAST) as replica:
        answer = await first_answer(replica)
        harm(file)
        assert (await label(replica, answer)).status_code == 503
        for refused in (await replica.client.get("/health/ready"), await replica.ask()):
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:uq4ct:problem:ledger-unavailable")
            assert str(file) not in refused.text
        await replica.settle(lambda: any(r.getMessage() == "ledger not writable" for r in caplog.records))
    (said,) = {record.reason for record in caplog.records if record.getMessage() == "ledger not writable"}  # type: ignore[attr-defined]
    assert said == f"{file} was removed or replaced while it was open"
    assert file.exists() == (harm is replace_by_copy), "a new file was made without being allowed"


@pytest.mark.anyio
async def test_a_ledger_is_unwritable_as_soon_as_anyone_misses_its_file(adapters: Registry, file: Path) -> None:
    """Not only when the writer checks next, which may be a minute later."""
    settings, metrics = Settings(database_url=url_of(file)), Metrics(CollectorRegistry())
    ledger = Ledger(settings, adapters, metrics, time.time, probe_seconds=60.0)
    ledger.start()
    await ledger.wait_until_opened()
    assert ledger.writable
    remove(file)
    with pytest.raises(LedgerFileError):
        count_rows(ledger.database)
    assert not ledger.writable
    await ledger.close()


@pytest.mark.anyio
@pytest.mark.slow  # an exit waits seconds for the ledger
async def test_answers_wait_for_a_ledger_that_is_gone_and_are_counted_at_the_end(start: Start, file: Path) -> None:
    async with start(database_url=url_of(file), ledger_required=False, ledger_buffer=3, **FAST) as replica:
        await first_answer(replica)
        remove(file)
        for number in range(5):
            assert (await replica.ask(f"{number}?")).status_code == 200
        await replica.settle(lambda: not replica.context.ledger.writable)
        assert (replica.sample("ledger_buffer_depth"), replica.sample("ledger_unlogged_total")) == (3, 2)
        registry = replica.registry
    assert registry.get_sample_value("uq4ct_ledger_unlogged_total") == 5
    assert not file.exists()


@pytest.mark.anyio
async def test_the_same_file_is_used_again_when_it_is_back(start: Start, file: Path) -> None:
    async with start(database_url=url_of(file), **FAST) as replica:
        answer = await first_answer(replica)
        move_away(file)
        assert (await label(replica, answer)).status_code == 503
        kept = make_record()
        replica.context.ledger.record(kept)
        file.with_suffix(".moved").replace(file)
        await replica.settle(lambda: replica.context.ledger.writable)
        assert (await label(replica, answer)).json()["result"] in ("accepted", "duplicate")
        await replica.context.ledger.flush()
        assert replica.sample("ledger_unlogged_total") == 0
    with closing(Database(url_of(file))) as database:
        assert count_rows(database) == (2, 1)


@pytest.mark.anyio
async def test_a_new_file_is_made_only_if_a_setting_allows_it(
    start: Start, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with start(database_url=url_of(file), ledger_allow_new_file=True, **FAST) as replica:
        answer = await first_answer(replica)
        remove(file)
        assert (await label(replica, answer)).status_code == 503
        kept = make_record()
        replica.context.ledger.record(kept)  # waits, and is written to the new file
        await replica.settle(lambda: replica.context.ledger.writable)
        await replica.settle(lambda: not replica.sample("ledger_buffer_depth"))
        assert (await label(replica, kept.prediction_id)).json()["result"] == "accepted"
        assert (await label(replica, answer)).json()["type"].endswith("not-visible-yet")
        assert replica.sample("ledger_unlogged_total") == 0
    assert any("continued in a new file" in record.getMessage() for record in caplog.records)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(Database(url_of(file))) as database:
        assert count_rows(database) == (1, 1)


@pytest.mark.anyio
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_removed_log_is_noticed_and_loses_nothing(start: Start, file: Path, suffix: str) -> None:
    """Confirmed labels are only in the removed log; closing every connection copies them into the ledger."""
    async with start(database_url=url_of(file), **FAST) as replica:
        early, late = await first_answer(replica), await first_answer(replica)
        assert (await label(replica, early)).status_code == 200
        file.with_name(file.name + suffix).unlink()
        assert (await label(replica, late)).status_code == 503
        await replica.settle(lambda: replica.context.ledger.writable)
        assert (await label(replica, early)).json()["result"] == "duplicate"
        assert (await label(replica, late)).json()["result"] in ("accepted", "duplicate")
        copy = Path(shutil.copy(file, file.with_suffix(".killed")))  # what a killed process would leave
        log = companions(file)[0]
        if log.exists():
            shutil.copy(log, companions(copy)[0])
        with closing(Database(url_of(copy))) as database:
            assert count_rows(database) == (2, 2)


def test_a_ledger_that_is_removed_while_it_is_in_use_has_one_reason(file: Path) -> None:
    """Another one in between would be logged as another failure."""
    with closing(Database(url_of(file))) as database:
        with pytest.raises(LedgerFileError, match=r"sqlite3 was removed or replaced"):
            remove_while_in_use(database, file)
        with pytest.raises(LedgerFileError, match=r"sqlite3 was removed or replaced"):
            count_rows(database)


def remove_while_in_use(database: Database, file: Path) -> None:
    with database.transaction():
        remove(file)
        database.reopen(allow_new=False)


def lose_the_log_while_it_is_in_use(database: Database, log: Path) -> None:
    with database.transaction():
        log.unlink()
        with pytest.raises(LedgerFileError, match=r"-wal was removed"):
            probe_write(database)
        assert database.lost
        with pytest.raises(LedgerUnavailableError, match="still in use"):
            database.reopen(allow_new=True)
        with pytest.raises(LedgerFileError):
            count_rows(database)


def test_a_lost_database_refuses_until_no_connection_is_in_use(file: Path) -> None:
    """A connection that is opened beside an old one would mix the old index with a new log: "disk I/O error"."""
    with closing(Database(url_of(file))) as database:
        insert(database, make_record())
        with pytest.raises(LedgerFileError, match=r"-wal was removed"):
            lose_the_log_while_it_is_in_use(database, companions(file)[0])
        assert database.reopen(allow_new=False) is False
        assert count_rows(database) == (1, 0)
        assert not database.lost


def test_a_database_whose_connections_were_all_closed_is_not_lost(file: Path) -> None:
    """The last connection removes the log, and the next one makes another."""
    with closing(Database(url_of(file))) as database:
        for _ in range(3):
            insert(database, make_record())
            database.close()
        assert count_rows(database) == (3, 0)


@pytest.fixture(params=[0o022, 0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(*paths: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in paths}


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?uri=true", "sqlite:///file:{}?mode=rwc&uri=true"])
def test_a_new_ledger_is_for_its_owner_only(tmp_path: Path, umask: int, form: str) -> None:
    file = tmp_path / "new folder" / "ledger.sqlite3"
    migrate(form.format(str(file).replace(" ", "%20") if "uri" in form else file))
    with closing(Database(url_of(file))) as database:
        insert(database, make_record())
        assert modes(file, *companions(file)) == {0o600}


def test_a_ledger_behind_a_link_is_for_its_owner_only(tmp_path: Path) -> None:
    link, file = tmp_path / "link.sqlite3", tmp_path / "ledger.sqlite3"
    link.symlink_to(file)
    migrate(url_of(link))
    assert modes(file) == {0o600}


@pytest.mark.parametrize("url", ["sqlite:///file:{}?mode=rw&uri=true", "sqlite:///file:{}?mode=ro&uri=true"])
def test_a_url_that_says_not_to_create_a_file_is_obeyed(tmp_path: Path, url: str) -> None:
    file = tmp_path / "ledger.sqlite3"
    with closing(Database(url.format(file))) as database:
        database.create_file()
    assert not file.exists()


@pytest.mark.anyio
async def test_an_existing_ledger_keeps_its_permissions_with_a_warning(
    start: Start, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for mode, warnings in ((0o600, 0), (0o640, 1)):
        file.chmod(mode)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            async with start(database_url=url_of(file)):
                assert modes(file) == {mode}
        said = [record for record in caplog.records if "accessible to users other than its owner" in record.message]
        assert len(said) == warnings


def test_an_export_is_for_its_owner_only(file: Path, tmp_path: Path, umask: int) -> None:
    target = tmp_path / "ledger.jsonl"
    target.touch(0o644)
    with closing(Database(url_of(file))) as database:
        insert(database, make_record())
        assert write_lines(export_lines(database), target) == 1
    assert modes(target) == {0o600}
