"""restic's REST protocol (its "REST backend" design document), as a client: requests, answers, and what those mean."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.late_dataclass import dataclass
from dr.tools import line, retry, web_page
from dr.tools.json_items import items_of
from dr.tools.meter import Meter, RequestClass
from dr.tools.network import authorities, knock, proxy_for, why_untrusted
from dr.tools.s3 import http_time

_BLOCK = 1 << 20
#: Bytes of a listing that are held in memory.
_IN_MEMORY = 4 << 20
_CONNECT_SECONDS = 5.0
_LISTED = {"Accept": "application/vnd.x.restic.rest.v2"}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Answer:
    """A status, and the body where it was read."""

    status: int
    body: bytes
    size: int


class RestService:
    """A server, and a path on it below which repositories are. Safe for several threads, each with a connection."""

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        password: str = "",
        ca_file: Path | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter or Meter()
        self.url, self._ca_file = url.rstrip("/"), ca_file
        self._parts = urlsplit(self.url)
        pair = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._auth = {"Authorization": f"Basic {pair}"} if pair else {}
        self._mine = threading.local()
        self.clock: datetime | None = None  # the time there at its last answer

    @property
    def where(self) -> str:
        """The place in words."""
        return f"rest:{self.url}"

    def reachable(self) -> None:
        """Return at once when the server answers and takes the login; else `TargetDownError` or `RefusedError`."""
        try:
            knock(self.url, self._ca_file)
        except (OSError, ValueError) as error:
            raise self._down(error, "reaching the target") from error
        self.ask("HEAD", "_control/config", "logging in", missing=True)

    def is_open(self) -> bool:
        """Whether the server answers who names no login."""
        bare = RestService(self.url, ca_file=self._ca_file, meter=self._meter)
        try:
            bare.ask("HEAD", "_control/config", "asking without a login", missing=True)
        except RefusedError:
            return False
        return True

    def listed(self, path: str) -> Iterator[tuple[str, int]]:
        """Yield names and sizes below a path; none where it does not exist. A long answer lies on disk meanwhile."""
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as answer:
            if not retry.persist(lambda: self._lay_down(path, answer), what=self.where):
                return
            answer.seek(0)
            try:
                for item in items_of(answer):
                    yield str(item["name"]), int(item["size"])
            except (ValueError, KeyError, TypeError):
                what, hint = "what answers there is not a REST server of restic", "correct the url of the target"
                raise DrError(what, self.where, hint=hint) from None

    def _lay_down(self, path: str, to: IO[bytes]) -> bool:
        """Write a listing into a file; False where there is nothing of that path."""
        to.seek(0)
        to.truncate()
        with self._asked("GET", f"{path}/", f"listing {path}", headers=_LISTED) as response:
            if response.status == 404:
                response.read()
                return False
            self._judge(response.status, f"listing {path}")
            to.writelines(self._meter.taking(line.body(response, _BLOCK)))
        return True

    def make(self, repository: str) -> None:
        """Make the directories of a repository; no error when they are there."""
        self.ask("POST", f"{repository}/?create=true", f"making {repository}")

    def ask(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        body: bytes | IO[bytes] | None = None,
        size: int | None = None,
        headers: Mapping[str, str] | None = None,
        missing: bool = False,
    ) -> Answer:
        """Make a request and read its answer; again where another try can help. 404 is an answer when `missing`.

        Raises what the status means: `DamageError` for 404, `RefusedError`, `TargetDownError`.
        """
        told = {**(headers or {}), **({"Content-Length": str(size)} if size is not None else {})}

        def once() -> Answer:
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
            with self._asked(method, path, doing, body=body, headers=told) as response:
                content = response.read()
                answer = Answer(response.status, content, int(response.headers.get("Content-Length") or 0))
            if answer.status < 300:
                sent = len(body) if isinstance(body, bytes) else size or 0
                self._meter.passed(sent=sent, received=len(content))
            if not (missing and answer.status == 404):
                self._judge(answer.status, doing)
            return answer

        return retry.persist(once, what=self.where)

    def blocks(self, path: str, doing: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of an object, or of a part of it. Raises as `ask`."""
        if end is not None and end <= start:
            return
        span = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        with self._asked("GET", path, doing, headers=span) as response:
            if response.status == 416:  # nothing is that far in it
                return
            self._judge(response.status, doing)
            yield from self._meter.taking(line.body(response, _BLOCK))

    # -- mechanism ----------------------------------------------------------------------------------

    @contextmanager
    def _asked(
        self, method: str, path: str, doing: str, *, headers: Mapping[str, str], body: bytes | IO[bytes] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Give the answer to a request; what is left of it is dropped, with the connection where it is much."""
        whole, query = path.partition("?")[::2]
        target = f"{self._parts.path}/{quote(whole)}" + (f"?{query}" if query else "")
        connection, done = self._connection(), False
        if proxied := proxy_for(self.url, os.environ) if self._parts.scheme == "http" else "":
            target = f"http://{self._parts.netloc}{target}"
        try:
            connection.request(method, target, body=body, headers={**self._auth, **headers})
            response = connection.getresponse()
            self._meter.request(_class_of(method, whole))
            if page := web_page.page_in(response.status, dict(response.headers)):
                raise web_page.error("a REST server of restic", self.where, page)
            self.clock = http_time(response.headers.get("Date")) or self.clock
            yield response
            done = response.isclosed() or not response.read(1)
        except (OSError, http.client.HTTPException) as error:
            raise self._down(error, doing, proxied) from error
        finally:
            if not done:
                connection.close()
                self._mine.connection = None

    def _connection(self) -> http.client.HTTPConnection:
        made: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if made is None:
            made = self._mine.connection = self._connected()
        return made

    def _connected(self) -> http.client.HTTPConnection:
        proxy, secure = urlsplit(proxy_for(self.url, os.environ)), self._parts.scheme == "https"
        host, port = self._parts.hostname or "", self._parts.port or _PORTS[self._parts.scheme]
        first = (proxy.hostname, proxy.port or _PORTS[proxy.scheme]) if proxy.hostname else (host, port)
        seconds = retry.BUDGET_SECONDS / retry.TRIES
        if not secure:
            return http.client.HTTPConnection(*first, timeout=seconds)
        context = ssl.create_default_context(cafile=authorities(self._ca_file))
        made = http.client.HTTPSConnection(*first, timeout=seconds, context=context)
        if proxy.hostname:
            made.set_tunnel(host, port)
        return made

    def _judge(self, status: int, doing: str) -> None:
        if status in (200, 201, 204, 206):
            return
        if status == 404:
            raise DamageError(f"{doing}: it is not there", self.where, hint="run `dr verify` to see all")
        if status == 401:
            hint = "correct `user` and `password`, and the path: a server with private repositories has one a user"
            raise RefusedError("the target refused the credentials", self.where, "status 401", hint=hint)
        if status == 403:
            hint = "use a login that may; a server that is append-only deletes and overwrites nothing"
            raise RefusedError(f"{doing}: not permitted", self.where, "status 403", hint=hint)
        if status >= 500 or status == 429:
            hint = "see the server's log, then try again"
            raise TargetDownError(f"{doing} failed", self.where, f"status {status}", hint=hint, retryable=True)
        hint = "see the server's log; is it a REST server of restic, at that path?"
        raise DrError(f"{doing} failed", self.where, f"status {status}", hint=hint)

    def _down(self, error: Exception, doing: str, proxy: str = "") -> DrError:
        if why := why_untrusted(error):
            return TargetDownError(
                f"the certificate of {self._parts.hostname} is not trusted",
                self.where,
                why,
                hint="name its authority's certificate under `ca_file`, or correct the url, or the certificate",
            )
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        through = f", through the proxy {urlsplit(proxy).hostname}" if proxy else ""
        return TargetDownError(
            f"{doing} failed: {self._parts.netloc} does not answer{through}",
            self.where,
            reason,
            hint="check the network, the url and the server",
            retryable=True,
        )


def _class_of(method: str, path: str) -> RequestClass:
    """Return the class of a request, as price lists have it: what ends with a slash is a listing."""
    if method in ("GET", "HEAD"):
        return "list" if path.endswith("/") else "read"
    return "delete" if method == "DELETE" else "write"
