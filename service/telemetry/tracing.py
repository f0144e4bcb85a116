"""Export request spans to an OpenTelemetry collector; needs the packages of the extra `otel`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry.trace import TracerProvider

from uq4ct.service.settings import SettingsError, is_loopback

_TRACES_PATH = "/v1/traces"


@contextmanager
def exported_traces(endpoint: str | None) -> Iterator[TracerProvider | None]:
    """Yield a provider that exports spans, or None without an endpoint; send the remaining spans at the end.

    Raises:
        SettingsError: there is an endpoint, but the packages are not installed.
    """
    if endpoint is None:
        yield None
        return
    try:
        import requests  # noqa: PLC0415  the exporter's HTTP library
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider as ExportingProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"UQ4CT_OTLP_ENDPOINT: {error.name} is not installed; install the extra `otel`: pip install 'uq4ct[otel]'"
        ) from error
    session = requests.Session()
    session.trust_env = not is_loopback(urlsplit(endpoint).hostname or "")  # no proxy to a collector on this machine
    exporter = OTLPSpanExporter(endpoint.rstrip("/").removesuffix(_TRACES_PATH) + _TRACES_PATH, session=session)
    provider = ExportingProvider(resource=Resource.create({SERVICE_NAME: "uq4ct"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield provider
    finally:
        provider.shutdown()
