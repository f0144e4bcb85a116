"""Refuse what other web pages make a browser send: foreign names in Host, and requests that other pages start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from uq4ct.service.http.handlers import problem_response
from uq4ct.service.http.kinds import FOREIGN_HOST, FOREIGN_ORIGIN
from uq4ct.service.http.problems import ProblemError, shown
from uq4ct.service.settings import Settings, is_loopback

_READING = ("GET", "HEAD")  # other pages cannot read the responses, because no header allows them to
_OWN_PAGES = ("same-origin", "none")  # none: the user's own action, such as a bookmark


class SameOrigin:
    """Check Host on every request, and Origin and Sec-Fetch-Site on those that ask or change something. Pure ASGI.

    A page whose name is rebound to this machine's address is of the same origin for the browser: only Host gives it
    away.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in settings.allowed_hosts)
        self._takes_any_host = _accepts_any_host(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            problem = self._find_problem(scope["method"], Headers(scope=scope))
            if problem is not None:
                await problem_response(problem, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _find_problem(self, method: str, headers: Headers) -> ProblemError | None:
        hosts = headers.getlist("host")
        if not self._takes_any_host:
            for host in hosts:
                name = _name_in(host)
                if name not in self._names and not is_loopback(name):
                    return _problem_of_host(host)
        if method in _READING:
            return None
        return self._find_foreign_page(headers, hosts)

    def _find_foreign_page(self, headers: Headers, hosts: Sequence[str]) -> ProblemError | None:
        """Browsers say where a request comes from in one of two headers, which pages cannot change.

        Sec-Fetch-Site is also right behind a proxy that replaces Host, but browsers send it only to https and loopback.
        """
        sites = headers.getlist("sec-fetch-site")
        if sites:
            foreign = [site for site in sites if site not in _OWN_PAGES]
            return _problem_of_page("Sec-Fetch-Site", foreign[0]) if foreign else None
        for origin in headers.getlist("origin"):
            if not self._is_own(origin, hosts):
                return _problem_of_page("Origin", origin)
        return None

    def _is_own(self, origin: str, hosts: Sequence[str]) -> bool:
        try:
            authority = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return bool(authority) and (authority in [host.lower() for host in hosts] or _name_in(authority) in self._names)


def _accepts_any_host(settings: Settings) -> bool:
    """Whether requests may name any host: if callers need a key or come through a proxy, unless names are set."""
    return not settings.allowed_hosts and (settings.api_keys_file is not None or settings.allow_public_without_keys)


def comes_from_a_page(headers: Mapping[str, str]) -> bool:
    """Whether a browser sent the request for a web page: other clients send neither of these headers."""
    return "origin" in headers or "sec-fetch-site" in headers


def _name_in(authority: str) -> str:
    """Return the host name or address of `name:port`, in lower case; empty if it has another form."""
    name, colon, port = authority.lower().rpartition(":")
    if not colon or "]" in port:
        name, port = authority.lower(), ""
    if port and not (port.isascii() and port.isdecimal()):
        return ""
    is_bracketed = name.startswith("[") and name.endswith("]")
    return name[1:-1] if is_bracketed else "" if ":" in name else name


def _problem_of_host(host: str) -> ProblemError:
    detail = f"Host is {shown(host)!a} (allowed: localhost, loopback addresses and UQ4CT_ALLOWED_HOSTS)"
    return ProblemError(FOREIGN_HOST, detail)


def _problem_of_page(header: str, value: str) -> ProblemError:
    return ProblemError(
        FOREIGN_ORIGIN, f"{header} is {shown(value)!a}: only pages of this service may send this request"
    )
