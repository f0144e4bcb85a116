"""PostgreSQL behind an address that stops to answer: connections stay open, and nothing comes back."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SilenceableAddress:
    """A TCP port that leads to a server's socket while `answers` is set; otherwise it accepts and stays silent."""

    def __init__(self, target: str) -> None:
        """`target` is the path of a Unix socket."""
        self.answers = threading.Event()
        self.answers.set()
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return self._listening.getsockname()[1]

    def close(self) -> None:
        """Close every connection."""
        for one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self.answers.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def silenceable(url: str) -> Iterator[tuple[str, SilenceableAddress]]:
    """Yield the URL of a ledger on PostgreSQL through an address that can be silenced, and the address."""
    start, _, folder = url.partition("?host=")
    address = SilenceableAddress(f"{folder}/.s.PGSQL.5432")
    try:
        yield start.replace("@/", f"@127.0.0.1:{address.port}/"), address
    finally:
        address.answers.set()
        address.close()
