"""HTTP, as far as a check needs it: one request, its status and the beginning of its body."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import asdict

from dr.late_dataclass import dataclass

_BODY = 1 << 20  # bytes of an answer that are read


@dataclass(frozen=True)
class Answer:
    """What came back: `status` None, and the `problem` in words, when nothing did."""

    status: int | None
    text: str = ""
    problem: str = ""


def fetch(url: str, *, seconds: float, body: bytes | None = None, proxies: bool = False) -> Answer:
    """Return the answer to a GET, or to a POST of a body; never raises for what the other side does.

    No proxy is used, but with `proxies` those that the environment names. A redirect is an answer too: its status is
    what a check asked for.
    """
    import urllib.error  # few checks ask, and who brings one file back waits for every import
    import urllib.request
    from http.client import HTTPException

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(NoRedirects, urllib.request.ProxyHandler(None if proxies else {}))
    try:
        with opener.open(url, body, timeout=seconds) as response:
            return Answer(response.status, response.read(_BODY).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(_BODY).decode("utf-8", "replace"))
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Answer(None, problem=getattr(reason, "strerror", None) or str(reason) or type(error).__name__)


def free_port() -> int:
    """Return a port of this host's loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_taken(port: int) -> bool:
    """Whether somebody listens on a port of this host's loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def read(said: bytes) -> Answer:
    """Return the answer that `python -m dr.tools.http URL SECONDS` prints."""
    return Answer(**json.loads(said))


if __name__ == "__main__":
    print(json.dumps(asdict(fetch(sys.argv[1], seconds=float(sys.argv[2])))))  # noqa: T201 - it is asked by `read`
