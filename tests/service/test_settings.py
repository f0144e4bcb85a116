from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command_line import uq4ct
from uq4ct.service.settings import OTHER_VARIABLES, Settings, SettingsError, read_settings

ROOT = Path(__file__).parents[2]
WRONG_ROOT_PATHS = ("uq", "/", "/uq/", "//uq", "/a/../b", "/.", "/a b", "/ü", "/uq?x", "http://a/uq", "/uq\n")
PARTS = ("model_store", "service", "training")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"port": "many"}, "UQ4CT_PORT: .*'many'"),
        ({"port": "0"}, "UQ4CT_PORT: .*'0'"),
        ({"max_batch_tokens": "-1"}, "UQ4CT_MAX_BATCH_TOKENS: "),
        ({"dtype": "int8"}, "UQ4CT_DTYPE: .*'int8'"),
        ({"device": "tpu"}, "UQ4CT_DEVICE: .*'tpu'"),
        ({"log_level": "loud"}, "UQ4CT_LOG_LEVEL: "),
        ({"no_such_setting": "1"}, "UQ4CT_NO_SUCH_SETTING: "),
        ({"max_client_batch_size": "9", "max_concurrent_requests": "8"}, "UQ4CT_MAX_CLIENT_BATCH_SIZE 9 .* 8"),
        ({"database_url": "mysql://root:secret@host/x"}, "UQ4CT_DATABASE_URL: unsupported driver 'mysql'"),
        ({"tasks": "triage,triage"}, "UQ4CT_TASKS: .*given once"),
        ({"tasks": "Triage!"}, "UQ4CT_TASKS: "),
        ({"host": "0.0.0.0"}, "UQ4CT_HOST '0.0.0.0' .* UQ4CT_API_KEYS_FILE, or UQ4CT_ALLOW_PUBLIC_WITHOUT_KEYS=true"),
        ({"max_client_batch_size": "9", "rate_limit_per_minute": "8"}, "UQ4CT_MAX_CLIENT_BATCH_SIZE 9 .* 8"),
        ({"rate_limit_per_minute": "0"}, "UQ4CT_RATE_LIMIT_PER_MINUTE: .*'0'"),
        *(
            ({"root_path": path}, f"UQ4CT_ROOT_PATH: must start with / .*{re.escape(repr(path))}")
            for path in WRONG_ROOT_PATHS
        ),
        *(
            ({"allowed_hosts": hosts}, "UQ4CT_ALLOWED_HOSTS: must be host names or IP addresses without scheme, port")
            for hosts in ("https://a", "a:80", "a/b", "[::1]", "*", "a,,b", "a b", "-a")
        ),
        ({"docs_need_key": "true"}, "UQ4CT_DOCS_NEED_KEY .* UQ4CT_API_KEYS_FILE"),
        ({"otlp_endpoint": "collector:4318"}, "UQ4CT_OTLP_ENDPOINT: .*'collector:4318'"),
        ({"host": "example.org"}, "UQ4CT_HOST 'example.org'"),
        ({"host": "::"}, "UQ4CT_HOST '::'"),
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


def test_allowed_hosts_are_separated_by_commas() -> None:
    hosts = read_settings({}, {"allowed_hosts": "uq.example.org, 10.0.0.1,2001:db8::1"}).allowed_hosts
    assert hosts == ("uq.example.org", "10.0.0.1", "2001:db8::1")


def test_tasks_are_separated_by_commas() -> None:
    assert read_settings({}, {"tasks": "triage, tutoring"}).tasks == ("triage", "tutoring")


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"(?s)UQ4CT_PORT.*UQ4CT_THREADS"):
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
    ("variable", "setting"),
    [
        ("UQ4CT_DEFAULT_MODELS", "UQ4CT_DEFAULT_MODEL"),
        ("UQ4CT_PROT", "UQ4CT_PORT"),
        ("uq4ct_port", "UQ4CT_PORT"),
        ("UQ4CT_DATABASE_URI", "UQ4CT_DATABASE_URL"),
        ("UQ4CT_KEYS", "UQ4CT_API_KEYS_FILE"),
        ("UQ4CT_", "UQ4CT_"),
    ],
)
def test_an_unknown_variable_with_the_prefix_is_an_error(variable: str, setting: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is not a setting; did you mean {setting}"):
        read_settings({variable: "1"}, {})


def test_variables_of_other_programs_and_commands_are_ignored() -> None:
    bare = {name.upper(): "wrong" for name in Settings.model_fields}
    similar = {"DATABASE_URI": "mysql://x", "MAX_BATCH_TOKEN": "0", "default_models": "x", "PATH": "/bin"}
    of_other_commands = {f"UQ4CT_{name}": "x" for name in OTHER_VARIABLES}
    assert read_settings(bare | similar | of_other_commands, {}) == read_settings({}, {})


def test_every_variable_that_something_reads_is_known() -> None:
    """Whoever reads another variable must add it, or `serve` would reject it in the environment of both."""
    read = re.compile(r"""(?:variable_name|read_variable)\("(\w+)"|\$\{(?:UQ4CT_)?(\w+_DIR)\}|\$\{UQ4CT_(\w+):""")
    files = [*ROOT.glob("docker-compose.yml"), *(file for part in PARTS for file in (ROOT / part).rglob("*.*"))]
    texts = [file.read_text(encoding="utf-8") for file in files if file.suffix in {".py", ".yaml", ".yml"}]
    names = {next(filter(None, found)) for text in texts for found in read.findall(text)}
    assert names - {name.upper() for name in Settings.model_fields} == set(OTHER_VARIABLES)


TEXTS = {  # for each setting two texts that are valid beside the defaults of the others
    "host": ("127.0.0.2", "127.0.0.3"),
    "port": ("8001", "8002"),
    "root_path": ("/uq", "/a/b.c"),
    "http_parser": ("h11", "httptools"),
    "max_connections": ("100", "200"),
    "allow_public_without_keys": ("true", "false"),
    "allowed_hosts": ("uq.example", "a,10.0.0.1"),
    "api_keys_file": ("a.json", "b.json"),
    "docs_need_key": ("false", "0"),
    "rate_limit_per_minute": ("100", "200"),
    "model_store_dir": ("a", "b"),
    "default_model": ("a", "b"),
    "base_cache_dir": ("a", "b"),
    "base_folders": ("a", "b:c"),
    "device": ("cpu", "cuda:1"),
    "dtype": ("float32", "float16"),
    "threads": ("1", "2"),
    "max_concurrent_requests": ("100", "200"),
    "max_queue_tokens": ("4000", "5000"),
    "max_batch_tokens": ("1000", "1001"),
    "max_client_batch_size": ("2", "3"),
    "request_timeout_seconds": ("1", "2.5"),
    "adapter_memory_mb": ("1", "2"),
    "alias_poll_seconds": ("0", "1"),
    "payload_limit": ("1", "2"),
    "metrics_pause_seconds": ("0", "1.5"),
    "shutdown_grace_seconds": ("0", "1"),
    "database_url": ("sqlite:///a", "sqlite:///b"),
    "ledger_required": ("true", "false"),
    "ledger_allow_new_file": ("true", "false"),
    "ledger_flush_seconds": ("2", "3"),
    "ledger_buffer": ("100", "200"),
    "retention_days": ("1", "2"),
    "store_questions": ("true", "false"),
    "tasks": ("a", "b,c"),
    "sequential_alpha": ("0.1", "0.2"),
    "error_rate_margin": ("0.1", "0.2"),
    "log_level": ("debug", "error"),
    "otlp_endpoint": ("http://a", "http://b"),
}


def test_the_texts_are_of_every_setting() -> None:
    assert list(TEXTS) == list(Settings.model_fields)


@given(data=st.data(), name=st.sampled_from(list(TEXTS)))
def test_a_flag_wins_over_the_variable(data: st.DataObject, name: str) -> None:
    text = st.none() | st.sampled_from(TEXTS[name])
    flag, variable = data.draw(text), data.draw(text | st.just(""))
    environ = {} if variable is None else {f"UQ4CT_{name.upper()}": variable}
    expected = flag or variable
    read = read_settings(environ, {} if flag is None else {name: flag})
    assert read == (Settings() if not expected else Settings.model_validate({name: expected}))


def test_flags_of_the_command_win_over_variables() -> None:
    for arguments, env, message in [
        (["--port", "0"], {"UQ4CT_PORT": "1"}, "(got '0')"),
        ([], {"UQ4CT_PORT": "-1", "PORT": "2"}, "(got '-1')"),
    ]:
        refused = uq4ct(["check", *arguments], env=env)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("error: UQ4CT_PORT: ")
        assert message in refused.stderr


@pytest.mark.parametrize("command", ["serve", "check"])
def test_help_documents_every_setting(command: str) -> None:
    text = uq4ct([command, "--help"], env={"COLUMNS": "240"}).output
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert f"UQ4CT_{name.upper()}" in text
        assert field.description
        assert field.description[:40] in text


def test_the_command_says_what_is_wrong_and_fails(tmp_path: object) -> None:
    refused = uq4ct(["serve", "--host", "0.0.0.0"])
    assert refused.exit_code == 1
    assert "ALLOW_PUBLIC_WITHOUT_KEYS" in refused.output
    empty = uq4ct(["check", "--model-store-dir", str(tmp_path)])
    assert empty.exit_code == 1
    assert "DEFAULT_MODEL is not set" in empty.output
    assert uq4ct(["serve", "--no-such-flag", "1"]).exit_code == 2
