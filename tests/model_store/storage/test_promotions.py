"""The record of promotions: complete, bounded, and no obstacle to a rollback."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import torch

from tests.manifests import make_draft
from uq4ct.model_store.full_disk import DiskFullError
from uq4ct.model_store.storage import promotions
from uq4ct.model_store.storage.errors import CorruptFileError, UnknownAdapterError
from uq4ct.model_store.storage.promotions import MOST_KEPT, PROMOTIONS_FILE, record_promotion
from uq4ct.model_store.storage.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A store with three versions of facts; version 1 is in production."""
    registry = Registry(tmp_path)
    for _ in range(3):
        registry.publish(make_draft("facts"), {"w": torch.ones(1)}, {}, promote=False)
    return registry


def changes(registry: Registry) -> list[tuple[str, int, int | None]]:
    """Return alias, version and version before of each promotion."""
    return [(one.alias, one.version, one.previous) for one in registry.promotions("facts")]


def test_every_change_of_an_alias_is_recorded_and_nothing_else(registry: Registry) -> None:
    begun = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    registry.promote("facts", 2)
    registry.promote("facts", 2)
    registry.promote("facts", 3, "staging")
    registry.publish(make_draft("facts"), {"w": torch.ones(1)}, {}, promote=True)
    registry.promote("facts", 1)
    expected = [
        ("production", 1, None), ("production", 2, 1), ("staging", 3, None), ("production", 4, 2), ("production", 1, 4),
    ]  # fmt: skip
    assert changes(registry) == expected
    assert registry.aliases("facts") == {"production": 1, "staging": 3}
    times = [one.promoted_at for one in registry.promotions("facts")]
    assert times == sorted(times)
    assert begun <= times[-1] <= datetime.datetime.now(datetime.UTC)
    registry.delete("facts@2")
    assert changes(registry) == expected
    assert [entry.version for entry in registry.survey()] == [1, 3, 4]


def test_a_store_without_a_record_begins_one(registry: Registry) -> None:
    (registry.root / "facts" / PROMOTIONS_FILE).unlink()
    assert changes(registry) == []
    registry.promote("facts", 3)
    assert changes(registry) == [("production", 3, 1)]


@pytest.mark.parametrize("content", ["", "[", '{"format": 2, "promotions": []}', '{"format": 1, "promotions": [{}]}'])
def test_a_damaged_record_is_named_and_set_aside_by_the_next_promotion(registry: Registry, content: str) -> None:
    path = registry.root / "facts" / PROMOTIONS_FILE
    path.write_text(content)
    with pytest.raises(CorruptFileError, match=PROMOTIONS_FILE):
        registry.promotions("facts")
    registry.promote("facts", 2)
    assert registry.resolve("facts") == ("facts", 2)
    assert changes(registry) == [("production", 2, 1)]
    (damaged,) = path.parent.glob(f"{PROMOTIONS_FILE}.damaged-*")
    assert damaged.read_text() == content
    assert [entry.version for entry in registry.survey()] == [1, 2, 3]


def test_the_newest_are_kept(registry: Registry) -> None:
    for number in range(1, 4):
        record_promotion(registry.root / "facts", "production", number, None)
    path = registry.root / "facts" / PROMOTIONS_FILE
    first = json.loads(path.read_text())
    many = [dict(first["promotions"][0], version=number) for number in range(1, MOST_KEPT + 1)]
    path.write_text(json.dumps(first | {"promotions": many}))
    registry.promote("facts", 3)
    assert [one.version for one in registry.promotions("facts")] == [*range(2, MOST_KEPT + 1), 3]


def test_a_promotion_that_cannot_be_recorded_does_not_happen(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise DiskFullError(path)

    monkeypatch.setattr(promotions, "replace_file", full)
    with pytest.raises(DiskFullError):
        registry.promote("facts", 3)
    assert registry.resolve("facts") == ("facts", 1)


def test_an_unknown_name_has_no_aliases(registry: Registry) -> None:
    with pytest.raises(UnknownAdapterError, match="no adapter 'fax' is stored"):
        registry.aliases("fax")
