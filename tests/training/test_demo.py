from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from uq4ct.service.settings import Settings, read_settings
from uq4ct.training.demonstration import DemoError, ask, service_environment


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


def _ask(answer: Callable[[httpx2.Request], httpx2.Response]) -> object:
    with httpx2.Client(base_url="http://service", transport=httpx2.MockTransport(answer)) as client:
        return ask(client, {"question": "q", "options": ["a", "b"]})


def test_the_demo_returns_the_answer_of_its_service() -> None:
    assert _ask(lambda request: httpx2.Response(200, json={"path": request.url.path})) == {"path": "/predict"}


def test_the_demo_says_in_one_line_why_its_service_refused_a_question() -> None:
    with pytest.raises(DemoError, match=r'^the service answered /predict with 401: \{"title":"no key"\}$'):
        _ask(lambda _: httpx2.Response(401, json={"title": "no key"}))


def test_the_demo_says_in_one_line_that_its_service_did_not_answer() -> None:
    def close(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("connection closed", request=request)

    with pytest.raises(DemoError, match=r"^the service did not answer /predict: connection closed$"):
        _ask(close)
