from __future__ import annotations

import pytest

from tests.command_line import uq4ct
from uq4ct.service.settings import Settings, SettingsError, read_settings


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"port": "many"}, "PORT: .*'many'"),
        ({"port": "0"}, "PORT: .*'0'"),
        ({"max_batch_tokens": "-1"}, "MAX_BATCH_TOKENS: "),
        ({"dtype": "int8"}, "DTYPE: .*'int8'"),
        ({"device": "tpu"}, "DEVICE: .*'tpu'"),
        ({"log_level": "loud"}, "LOG_LEVEL: "),
        ({"no_such_setting": "1"}, "NO_SUCH_SETTING: "),
        ({"max_client_batch_size": "9", "max_concurrent_requests": "8"}, "MAX_CLIENT_BATCH_SIZE 9 .* 8"),
        ({"database_url": "mysql://root:secret@host/x"}, "DATABASE_URL: has the driver 'mysql'"),
        ({"tasks": "triage,triage"}, "TASKS: .*stands once"),
        ({"tasks": "Triage!"}, "TASKS: "),
        ({"host": "0.0.0.0"}, "HOST '0.0.0.0' .* API_KEYS_FILE, or ALLOW_PUBLIC_WITHOUT_KEYS=true"),
        ({"max_client_batch_size": "9", "rate_limit_per_minute": "8"}, "MAX_CLIENT_BATCH_SIZE 9 .* 8"),
        ({"rate_limit_per_minute": "0"}, "RATE_LIMIT_PER_MINUTE: .*'0'"),
        ({"docs_need_key": "true"}, "DOCS_NEED_KEY .* API_KEYS_FILE"),
        ({"otlp_endpoint": "collector:4318"}, "OTLP_ENDPOINT: .*'collector:4318'"),
        ({"host": "example.org"}, "HOST 'example.org'"),
        ({"host": "::"}, "HOST '::'"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_settings({}, flags)


def test_no_message_holds_a_password() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, {"database_url": "mysql://root:secret@host/x"})
    assert "secret" not in str(caught.value)
    url = "postgresql+psycopg://ledger:secret@host/x"
    assert "secret" not in repr(read_settings({}, {"database_url": url}))


def test_tasks_stand_between_commas() -> None:
    assert read_settings({}, {"tasks": "triage, tutoring"}).tasks == ("triage", "tutoring")


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"(?s)PORT.*THREADS"):
        read_settings({}, {"port": "x", "threads": "y"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert read_settings({}, {"host": host}).host == host


@pytest.mark.parametrize(
    "permission", [{"allow_public_without_keys": "true"}, {"api_keys_file": "keys.json", "docs_need_key": "true"}]
)
def test_a_public_address_needs_one_or_keys(permission: dict[str, str]) -> None:
    assert read_settings({}, {"host": "0.0.0.0", **permission}).host == "0.0.0.0"


@pytest.mark.parametrize(
    ("variable", "setting"), [("MAX_BATCH_TOKEN", "MAX_BATCH_TOKENS"), ("DEFAULT_MODELS", "DEFAULT_MODEL")]
)
def test_a_misspelt_variable_is_an_error(variable: str, setting: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}: is not a setting; did you mean {setting}"):
        read_settings({variable: "1"}, {})


def test_other_programs_variables_are_none_of_ours() -> None:
    others = {"PATH": "/bin", "HOSTNAME": "x", "PYTHONPATH": "", "LANG": "C", "REPORT": "1", "TYPE": "2"}
    assert read_settings(others, {}) == read_settings({}, {})


def test_variables_are_read_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_BATCH_TOKENS", "1000")
    monkeypatch.setenv("PAYLOAD_LIMIT", "77")
    monkeypatch.setenv("DEFAULT_MODEL", "")
    settings = read_settings({}, {"payload_limit": "78"})
    assert (settings.max_batch_tokens, settings.payload_limit, settings.default_model) == (1000, 78, None)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_help_documents_every_setting(command: str) -> None:
    text = uq4ct([command, "--help"], env={"COLUMNS": "240"}).output
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert name.upper() in text
        assert field.description
        assert field.description[:40] in text


def test_the_command_says_what_is_wrong_and_fails(tmp_path: object) -> None:
    refused = uq4ct(["serve", "--host", "0.0.0.0"])
    assert refused.exit_code == 1
    assert "ALLOW_PUBLIC_WITHOUT_KEYS" in refused.output
    empty = uq4ct(["check", "--model-store-dir", str(tmp_path)])
    assert empty.exit_code == 1
    assert "DEFAULT_MODEL: is not set" in empty.output
    assert uq4ct(["serve", "--no-such-flag", "1"]).exit_code == 2
