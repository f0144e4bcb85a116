from __future__ import annotations

from pathlib import Path

import pytest

from model_store.storage.errors import UnknownAdapterError
from model_store.storage.registry import Registry
from service.loading import choose_reference
from service.settings import Settings, SettingsError


def test_a_chosen_model_must_be_registered(adapters: Registry) -> None:
    assert choose_reference(Settings(default_model="toy@staging"), adapters) == "toy@staging"
    with pytest.raises(UnknownAdapterError, match="toy@9"):
        choose_reference(Settings(default_model="toy@9"), adapters)


def test_several_names_and_no_choice_lists_them(adapters: Registry) -> None:
    with pytest.raises(SettingsError, match=r"DEFAULT_MODEL: is not set.* holds other, toy"):
        choose_reference(Settings(), adapters)


def test_an_empty_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no adapter at all"):
        choose_reference(Settings(), Registry(tmp_path))


def test_the_only_name_is_the_default(tmp_path: Path, store_dir: Path) -> None:
    (tmp_path / "toy").symlink_to(store_dir / "toy")
    assert choose_reference(Settings(), Registry(tmp_path)) == "toy"
