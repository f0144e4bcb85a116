"""The proxy through which a client sends: none to loopback, else that of the environment."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.request import getproxies

import httpx2

from uq4ct.service.client.errors import ClientError, UnusableProxyError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EnvironmentProxy:
    """A proxy and where it was found: the name of an environment variable, or the settings of the system."""

    source: str
    proxy: httpx2.Proxy

    def __str__(self) -> str:
        return f"{self.proxy.url} ({self.source})"


def find_proxy(url: httpx2.URL) -> EnvironmentProxy | None:
    """Return the proxy for this address; None: it is reached directly.

    Raises:
        UnusableProxyError: there is one, but its address is none.
    """
    proxies = getproxies()
    if _is_loopback(url.host) or _is_excepted(url.host, proxies.get("no", "")):
        return None
    found = next((scheme for scheme in (url.scheme, "all") if proxies.get(scheme)), None)
    return None if found is None else _read_proxy(_source_of(found), proxies[found])


def open_transport(kind: Callable[..., T], proxy: EnvironmentProxy | None) -> T:
    """Return a transport of httpx2 that uses this proxy and no other.

    Raises:
        UnusableProxyError: it is a SOCKS proxy, and the package for these is not installed.
        ClientError: the certificate authorities that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read.
    """
    try:
        return kind(proxy=None if proxy is None else proxy.proxy)
    except ImportError as error:
        raise UnusableProxyError(f"proxy {proxy}: SOCKS needs the package socksio") from error
    except OSError as error:
        places = [f"{name}={os.environ[name]}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
        raise ClientError(f"certificate authorities cannot be read: {error} ({', '.join(places)})") from error


def _read_proxy(source: str, text: str) -> EnvironmentProxy:
    shown = ascii(text.rpartition("@")[2])  # without a password
    error = UnusableProxyError(f"proxy {shown} ({source}): must be http, https, socks5 or socks5h://<host>:<port>")
    try:
        proxy = httpx2.Proxy(text if "://" in text else f"http://{text}")
    except (ValueError, httpx2.InvalidURL) as cause:
        raise error from cause
    if not proxy.url.host:
        raise error
    return EnvironmentProxy(source, proxy)


def _source_of(scheme: str) -> str:
    names = (name for name in sorted(os.environ, reverse=True) if name.lower() == f"{scheme}_proxy")
    return next(names, "system settings")  # lower case comes first, as it does for `getproxies`


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _is_excepted(host: str, no_proxy: str) -> bool:
    """Whether a host matches an entry of NO_PROXY: `*`, a domain with all below it, an address or a network."""
    return any(_matches(host.lower(), entry.strip().lower()) for entry in no_proxy.split(",") if entry.strip())


def _matches(host: str, entry: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        domain = entry.removeprefix("*").removeprefix(".")
        return not domain or host == domain or host.endswith(f".{domain}")
