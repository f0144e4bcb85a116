"""All settings of the service: `port` is the flag `--port` and the environment variable `UQ4CT_PORT`."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from uq4ct.model_store.environment import PREFIX, read_variable, split_paths, variable_name
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import complaints

if TYPE_CHECKING:
    from sqlalchemy import URL

OTHER_VARIABLES = (
    "DATA_DIR",
    "KEY",
    "MEMORY_LIMIT",
    "POSTGRES_PASSWORD",
    "SERVICE_URL",
)  # of `train`, `replay` and docker-compose.yml
_TASK = re.compile(r"[a-z0-9_-]{1,64}")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_DRIVERS = ("sqlite", "postgresql+psycopg")  # supported by the ledger


class SettingsError(UserError, ValueError):
    """Invalid settings, with which the service must not start; the message names each of them."""


def parse_database_url(text: str) -> URL:
    """Parse the URL of a database that can hold a ledger.

    Raises:
        ValueError: it is not such a URL; the message leaves out what may be a password.
    """
    from sqlalchemy import make_url  # noqa: PLC0415  # for a value, not for the names and defaults that help shows
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError("must be a database URL such as sqlite:///ledger.sqlite3") from None
    if url.drivername not in _DRIVERS:
        raise ValueError(f"unsupported driver {url.drivername!r}, must be one of {', '.join(_DRIVERS)}")
    if url.drivername == "sqlite" and (url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"):
        raise ValueError("must not be an in-memory database: the ledger would be lost when the process exits")
    return url


class Settings(BaseModel):
    """The settings of one replica; an unknown, invalid or contradictory setting is an error at startup."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="TCP port to listen on")
    root_path: str = Field(
        default="",
        description="path prefix that a proxy in front removes, such as /uq; /openapi.json names it",
    )
    http_parser: Literal["auto", "httptools", "h11"] = Field(
        default="auto", description="parser of requests; auto = httptools if it is installed, else h11"
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="open connections; above it one without a request is closed, or the new one gets 503; unset = "
        "4096, or fewer if the limit on open files (`ulimit -n`) is low",
    )
    allow_public_without_keys: bool = Field(
        default=False, description="allow an address that is not loopback although requests need no key"
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="host names under which clients reach the service, such as that of a proxy, separated by commas: "
        "these and loopback names are accepted in Host; unset = only loopback names if requests need no key, any with "
        "UQ4CT_API_KEYS_FILE or UQ4CT_ALLOW_PUBLIC_WITHOUT_KEYS",
    )
    api_keys_file: Path | None = Field(
        default=None, description="file that `uq4ct keys` writes; unset = requests need no key"
    )
    docs_need_key: bool = Field(
        default=False, description="/openapi.json needs a key like everything else; /docs asks for it"
    )
    rate_limit_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000, description="questions per minute and key; above it: 429"
    )
    model_store_dir: Path = Field(
        default=Path("model_store/artifacts/adapters"), description="folder of the registered adapters"
    )
    default_model: str | None = Field(
        default=None,
        description="name, name@version or name@alias for requests that name no model; not needed if the store has a "
        "single name",
    )
    base_cache_dir: Path | None = Field(default=None, description="folder of downloaded and converted base models")
    base_folders: tuple[Path, ...] = Field(
        default=(),
        description="folders to find the base model in, separated by `:`: the first with the digest that the model "
        "records; unset = look it up by its recorded name",
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:<index>"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="number format of the base model; auto = bfloat16 if the device supports it, else float32",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="CPU threads of the model; unset = one per usable CPU, fewer while other programs use the CPUs",
    )
    max_concurrent_requests: int = Field(
        default=512, ge=1, le=100_000, description="admitted questions without an answer yet; above it: 429"
    )
    max_queue_tokens: int = Field(
        default=32768,
        ge=1,
        description="tokens of the admitted questions, counted once per pass; above it: 429",
    )
    max_batch_tokens: int = Field(
        default=2048,
        ge=1,
        description="tokens of one batch, counted once per pass; a question that fits in one pass but not in all of "
        "them is answered alone",
    )
    max_client_batch_size: int = Field(default=64, ge=1, description="questions in one /predict/batch; above it: 413")
    request_timeout_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="seconds from admission to the answer; after that: 504"
    )
    adapter_memory_mb: int = Field(
        default=2000,
        ge=1,
        description="megabytes of all loaded adapters, two versions during a swap; above it the least recently used "
        "adapters are evicted",
    )
    alias_poll_seconds: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="how often to check the store for alias changes, in seconds; 0 = never",
    )
    payload_limit: int = Field(default=2_000_000, ge=1, description="bytes of a request body, decoded; above it: 413")
    metrics_pause_seconds: float = Field(
        default=0.3,
        ge=0,
        le=60,
        description="shortest time from one rendering of /metrics to the next, in seconds: scrapes that arrive "
        "meanwhile wait for the next one and share it",
    )
    shutdown_grace_seconds: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="seconds after SIGTERM during which /health/ready returns 503 but questions are still answered",
    )
    database_url: str = Field(
        default="sqlite:///model_store/artifacts/ledger.sqlite3",
        repr=False,  # it may hold a password
        description="SQLAlchemy URL of the ledger: sqlite:///<file> or postgresql+psycopg://<user>:<password>@<host>/<database>",
    )
    ledger_required: bool = Field(
        default=True,
        description="true: a replica that cannot write to the ledger does not start, or is not ready and answers 503; "
        "false: it answers anyway, counts unlogged answers, and /feedback returns 503",
    )
    ledger_allow_new_file: bool = Field(
        default=False,
        description="SQLite: true: if the ledger's file is removed or replaced while the service runs, go on in the "
        "file at its path, or a new one; false: the ledger is unavailable until the same file is back or a restart",
    )
    ledger_flush_seconds: float = Field(
        default=1.0, gt=0, le=60, description="longest time until an answer is written to the ledger, in seconds"
    )
    ledger_buffer: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="answers that may wait to be written; above it they are not logged",
    )
    retention_days: int = Field(
        default=365, ge=1, le=36_500, description="days after which an answer and its label are deleted"
    )
    store_questions: bool = Field(
        default=False, description="keep the texts of questions, options and contexts in the ledger"
    )
    tasks: tuple[str, ...] = Field(
        default=(), description="allowed values of `task`, separated by commas; others are counted as `other`"
    )
    sequential_alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="probability of a false alarm about the confidence of a version, and about its error rate, over "
        "its life",
    )
    error_rate_margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="how far the error rate may exceed that of the calibration split before it raises an alarm; with "
        "few questions in the split, more is allowed",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+",
        description="URL of an OpenTelemetry collector that accepts traces over HTTP; unset = no traces; needs the "
        "extra `otel`",
    )

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, value: str) -> str:
        if not _ROOT_PATH.fullmatch(value):
            raise PydanticCustomError(
                "root_path", "must start with / and not end with it, with letters, digits and .-_~ between"
            )
        return value

    @field_validator("base_folders", mode="before")
    @classmethod
    def _split_folders(cls, value: object) -> object:
        return split_paths(value) if isinstance(value, str) else value

    @field_validator("allowed_hosts", "tasks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("allowed_hosts")
    @classmethod
    def _check_allowed_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_HOST_NAME.fullmatch(name) or is_address(name) for name in value):
            raise PydanticCustomError("host", "must be host names or IP addresses without scheme, port and brackets")
        return value

    @field_validator("tasks")
    @classmethod
    def _check_tasks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _TASK.fullmatch(name) or value.count(name) > 1:
                raise PydanticCustomError("task", "a task must have 1 to 64 of a-z, 0-9, _ and -, and be given once")
        return value

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.max_client_batch_size > self.max_concurrent_requests:
            raise _contradiction(
                f"UQ4CT_MAX_CLIENT_BATCH_SIZE {self.max_client_batch_size} is larger than "
                f"UQ4CT_MAX_CONCURRENT_REQUESTS {self.max_concurrent_requests}: a full batch could never be admitted",
            )
        if self.ledger_required and self.max_client_batch_size > self.ledger_buffer:
            raise _contradiction(
                f"UQ4CT_MAX_CLIENT_BATCH_SIZE {self.max_client_batch_size} is larger than UQ4CT_LEDGER_BUFFER "
                f"{self.ledger_buffer}, and UQ4CT_LEDGER_REQUIRED is set: a full batch could never be admitted",
            )
        try:
            parse_database_url(self.database_url)
        except ValueError as error:
            raise _contradiction(f"UQ4CT_DATABASE_URL: {error}") from error
        if self.max_queue_tokens < self.max_batch_tokens:
            raise _contradiction(
                f"UQ4CT_MAX_QUEUE_TOKENS {self.max_queue_tokens} is below UQ4CT_MAX_BATCH_TOKENS "
                f"{self.max_batch_tokens}: a full batch could never be queued",
            )
        if self.rate_limit_per_minute is not None and self.max_client_batch_size > self.rate_limit_per_minute:
            raise _contradiction(
                f"UQ4CT_MAX_CLIENT_BATCH_SIZE {self.max_client_batch_size} is larger than UQ4CT_RATE_LIMIT_PER_MINUTE "
                f"{self.rate_limit_per_minute}: a full batch could never be admitted",
            )
        if self.docs_need_key and self.api_keys_file is None:
            raise _contradiction("UQ4CT_DOCS_NEED_KEY is set but UQ4CT_API_KEYS_FILE is not: set it, too")
        has_guard = self.allow_public_without_keys or self.api_keys_file is not None
        if not has_guard and not is_loopback(self.host):
            raise _contradiction(
                f"UQ4CT_HOST {self.host!r} is not a loopback address and requests need no key: set "
                "UQ4CT_API_KEYS_FILE, or UQ4CT_ALLOW_PUBLIC_WITHOUT_KEYS=true if something in front of the service "
                "keeps strangers out, or listen on 127.0.0.1",
            )
        return self


def read_settings(environ: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables, overridden by `flags` (field name to text).

    Raises:
        SettingsError: a value has the wrong type or range, two values contradict each other, or a variable of
            `environ` has the prefix of the settings but is none.
    """
    problems = [f"{wrong} is not a setting; did you mean {right}?" for wrong, right in _unknown(environ)]
    if problems:
        raise SettingsError("\n".join(problems))
    found = {field: read_variable(field.upper(), environ) for field in Settings.model_fields}
    variables = {field: text for field, text in found.items() if text is not None}
    try:
        return Settings.model_validate({**variables, **flags})
    except ValidationError as error:
        raise SettingsError("\n".join(complaints(error, spell=_variable_of))) from error


def _variable_of(field: str) -> str:
    return variable_name(field.upper()) if field else ""


def _contradiction(message: str) -> PydanticCustomError:
    return PydanticCustomError("contradiction", "{message}", {"message": message})


def _unknown(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables with the prefix, in any case, that nothing reads, each with the most similar setting."""
    settings = [field.upper() for field in Settings.model_fields]
    known = {variable_name(name) for name in (*settings, *OTHER_VARIABLES)}
    unknown = [variable for variable in environ if variable.upper().startswith(PREFIX) and variable not in known]
    return [(variable, variable_name(_most_similar(variable[len(PREFIX) :].upper(), settings))) for variable in unknown]


def _most_similar(name: str, names: Sequence[str]) -> str:
    (nearest,) = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return nearest


def is_address(host: str) -> bool:
    """Whether a text is an IP address, without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host name or address is that of this machine."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
