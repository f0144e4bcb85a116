"""python -m tests.service.scrapers PORT COUNT: clients that ask for /metrics again and again, until killed."""

from __future__ import annotations

import http.client
import os
import sys
import threading


def _scrape(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while True:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        os.write(1, b"scraped\n")  # in one piece; threads that print mix up their lines


if __name__ == "__main__":
    for _ in range(int(sys.argv[2])):
        threading.Thread(target=_scrape, args=(int(sys.argv[1]),), daemon=True).start()
    threading.Event().wait(600)
