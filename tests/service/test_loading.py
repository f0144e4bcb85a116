from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

import uq4ct.service.loading
import uq4ct.service.starting
from uq4ct.model_store.storage.errors import UnknownAdapterError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.loading import choose_reference
from uq4ct.service.settings import Settings, SettingsError


def test_a_chosen_model_must_be_registered(adapters: Registry) -> None:
    assert choose_reference(Settings(default_model="toy@staging"), adapters) == "toy@staging"
    with pytest.raises(UnknownAdapterError, match="toy@9"):
        choose_reference(Settings(default_model="toy@9"), adapters)


def test_several_names_and_no_choice_lists_them(adapters: Registry) -> None:
    with pytest.raises(SettingsError, match=r"DEFAULT_MODEL is not set.* has other, toy"):
        choose_reference(Settings(), adapters)


def test_an_empty_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no adapters"):
        choose_reference(Settings(), Registry(tmp_path))


def test_the_only_name_is_the_default(tmp_path: Path, store_dir: Path) -> None:
    (tmp_path / "toy").symlink_to(store_dir / "toy")
    assert choose_reference(Settings(), Registry(tmp_path)) == "toy"


class _Host:
    """A stand-in for a base model."""


def test_what_a_service_loads_is_left_out_of_garbage_collections(
    monkeypatch: pytest.MonkeyPatch, store_dir: Path
) -> None:
    """A cycle that is created after loading is still collected."""
    asked: list[Any] = []
    monkeypatch.setattr(uq4ct.service.loading, "load_host", lambda *arguments: asked.append(arguments) or _Host())
    handed: list[Any] = []
    monkeypatch.setattr(uq4ct.service.starting, "create_app", lambda load, *_, **__: handed.append(load))
    monkeypatch.setattr(uq4ct.service.starting, "serve_app", lambda *_: _nothing())
    monkeypatch.setattr(uq4ct.service.starting, "log_to_stderr", lambda level: None)
    monkeypatch.setattr(uq4ct.service.starting, "disable_created_metrics", lambda: None)
    settings = Settings(model_store_dir=store_dir, default_model="toy@1")
    uq4ct.service.starting.serve(settings)
    assert not asked  # nothing is loaded before the app starts
    before = gc.get_freeze_count()
    try:
        host = handed[0]()
        assert isinstance(host, _Host)
        assert asked[0][0] is settings
        assert asked[0][2] == "toy@1"
        assert gc.get_freeze_count() > before + 10_000
        cycle: list[Any] = [_Host()]
        cycle.append(cycle)
        later = weakref.ref(cycle[0])
        del cycle
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()


async def _nothing() -> None:
    pass
