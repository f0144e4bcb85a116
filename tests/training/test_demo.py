from __future__ import annotations

from pathlib import Path

from uq4ct.service.settings import Settings, read_settings
from uq4ct.training.commands.demo import service_environment


def test_the_service_of_the_demo_has_its_own_settings_whatever_is_set_outside() -> None:
    settings = {name.upper(): "of something else" for name in Settings.model_fields}
    outside = settings | {f"UQ4CT_{name}": value for name, value in settings.items()}
    outside |= {"UQ4CT_NO_SETTING": "1", "uq4ct_port": "1", "PATH": "/bin", "UQ4CT_BASE_CACHE_DIR": "/bases"}
    environment = service_environment(outside, Path("store"), "quickstart@1", 4711)
    own = {
        "model_store_dir": Path("store"),
        "default_model": "quickstart@1",
        "port": 4711,
        "log_level": "warning",
        "shutdown_grace_seconds": 0.0,
        "base_cache_dir": Path("/bases"),
    }
    assert read_settings(environment, {}) == Settings.model_validate(own)
    assert environment["PATH"] == "/bin"
