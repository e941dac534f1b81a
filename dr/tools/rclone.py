"""The program `rclone` as a service of ours: one process for each remote, asked through a socket of our own.

It is started when it is first needed, in a directory that nobody else may enter, and ends with this program. See its
"remote control" documentation for what it can be asked.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from dr.errors import DamageError, DrError, RefusedError, TargetDownError
from dr.tools import command, line, retry
from dr.tools.json_items import items_of
from dr.tools.meter import Meter

_BLOCK = 1 << 20
#: Bytes of a listing that are held in memory.
_IN_MEMORY = 4 << 20
#: How directories of ours are called, before the number of their process.
_FOLDER = "dr-rclone-"
#: Seconds in which it must answer first; and for one answer.
_START_SECONDS, _ANSWER_SECONDS = 60.0, 600.0
_KEEP_ENV = (
    "PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy",
    "NO_PROXY", "no_proxy",
)  # fmt: skip
#: How long it tries by itself: the rest of the budget is ours.
LIMITS = {"RCLONE_CONTIMEOUT": "5s", "RCLONE_TIMEOUT": "30s", "RCLONE_LOW_LEVEL_RETRIES": "2", "RCLONE_RETRIES": "1"}
#: What rclone answers, with the status of what is absent, where it found an object and could not open it.
_UNOPENED = "Not Found"
_ABSENT = re.compile(r"(object|directory|file) not found|no such file|doesn't exist", re.IGNORECASE)
_UNKNOWN = re.compile(r"didn't find (section|backend)", re.IGNORECASE)
_REFUSED = re.compile(
    r"access ?denied|permission denied|unauthori[sz]ed|forbidden|authenticat|invalid_grant|\b40[13]\b", re.IGNORECASE
)
_LOGIN = re.compile(r"//[^/@\s]*@")


class _Connection(http.client.HTTPConnection):
    """A connection through a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("rclone", timeout=_ANSWER_SECONDS)
        self._socket = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket)


class Rclone:
    """One remote, as `NAME:PATH` of a configuration file. Safe for several threads."""

    def __init__(self, remote: str, config: Path, meter: Meter | None = None) -> None:
        self.remote, self._config = remote, config
        self.meter = meter or Meter()  # bytes alone: the requests are rclone's
        self._lock, self._mine = threading.Lock(), threading.local()
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._running: threading.Thread | None = None
        self._ended: command.Done | None = None

    @property
    def where(self) -> str:
        """The place in words."""
        return f"rclone:{self.remote}"

    def call(self, what: str, doing: str, *, tries: int = retry.TRIES, **asked: Any) -> dict[str, Any]:
        """Ask for an operation and return its answer. Raises what its refusal means."""
        body = json.dumps(asked).encode()

        def once() -> dict[str, Any]:
            status, answer = self._ask("POST", f"/{what}", doing, body)
            if status != 200:
                raise self._meaning(_error_in(answer, status), doing)
            try:
                return dict(json.loads(answer or b"{}"))
            except (ValueError, TypeError):
                raise self._meaning("an answer that is not JSON", doing) from None

        return retry.persist(once, what=self.where, tries=tries)

    def listed(self, remote: str, doing: str) -> Iterator[dict[str, Any]]:
        """Yield the files below a directory, as `operations/list` tells them. Raises as `call`.

        A long answer lies on disk meanwhile.
        """
        wanted = {"recurse": True, "filesOnly": True, "noMimeType": True}
        body = json.dumps({"fs": self.remote, "remote": remote, "opt": wanted}).encode()
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as answer:

            def once() -> None:
                answer.seek(0)
                answer.truncate()
                status, said = self._ask("POST", "/operations/list", doing, body, to=answer)
                if status != 200:
                    raise self._meaning(_error_in(said, status), doing)

            retry.persist(once, what=self.where)
            answer.seek(0)
            try:
                yield from items_of(answer)
            except ValueError:
                raise self._meaning("an answer that is not JSON", doing) from None

    def blocks(self, name: str, doing: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of an object, or of a part of it. Raises as `call`."""
        if end is not None and end <= start:
            return
        span = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        connection, done = self._connection(), False
        try:
            connection.request("GET", f"/{quote(f'[{self.remote}]/{name}', safe='/[]:')}", headers=span)
            response = connection.getresponse()
            if response.status not in (200, 206, 416):
                said = response.read(300).decode("utf-8", "replace").strip()
                raise (
                    self._unopened(doing)
                    if response.status == 404 and said == _UNOPENED
                    else self._meaning(said, doing)
                )
            if response.status != 416:
                yield from self.meter.taking(line.body(response, _BLOCK))
            done = response.isclosed()
        except (OSError, http.client.HTTPException) as error:
            raise self._broke(error, doing) from error
        finally:
            if not done:
                connection.close()
                self._mine.connection = None

    @property
    def folder(self) -> Path:
        """A directory of ours for what is on its way; swept by a later program where this one is killed."""
        return Path(self._served()).parent

    # -- mechanism ----------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, doing: str, body: bytes, *, to: IO[bytes] | None = None
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer; of one that is good the body goes into a file, where one is."""
        connection = self._connection()
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            if to is None or response.status != 200:
                return response.status, response.read()
            to.writelines(line.body(response, _BLOCK))
            return response.status, b""
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._mine.connection = None
            raise self._broke(error, doing) from error

    def _connection(self) -> _Connection:
        made: _Connection | None = getattr(self._mine, "connection", None)
        if made is None:
            made = self._mine.connection = _Connection(self._served())
        return made

    def _served(self) -> str:
        """Return the socket of the running program; start it where it does not run."""
        command.raise_if_stopping()
        with self._lock:
            if self._home is None or self._running is None or not self._running.is_alive():
                _sweep()
                self._home = tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-")
                self._ended = None
                self._running = threading.Thread(target=self._serve, args=(self._home.name,), daemon=True)
                self._running.start()
                self._wait(f"{self._home.name}/socket")
            return f"{self._home.name}/socket"

    def _serve(self, home: str) -> None:
        """Run it, from a thread that lives as long as it does."""
        env = {name: os.environ[name] for name in _KEEP_ENV if name in os.environ} | LIMITS
        argv = ["rclone", "rcd", "--rc-no-auth", "--rc-serve", f"--rc-addr=unix://{home}/socket"]
        argv += [f"--config={self._config}"]
        try:
            self._ended = command.run(argv, env=env)
        except DrError as error:
            self._ended = command.Done(tuple(argv), 1, stderr=str(error).encode())

    def _wait(self, path: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._ended is None:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
                return
            command.wait_for_stop(0.02)
            command.raise_if_stopping()
        said = self._ended.last_words if self._ended else f"no answer within {_START_SECONDS:g} s"
        hint = "install rclone, with `rcd` that serves a socket (`rclone rcd --help`)"
        raise DrError("the program rclone could not be started", self.where, said, hint)

    def _broke(self, error: Exception, doing: str) -> DrError:
        return TargetDownError(
            f"{doing} failed: rclone went away", self.where, str(error), hint="try again", retryable=True
        )

    def _unopened(self, doing: str) -> DrError:
        hint = f"see why with `rclone --config {self._config} cat`: so it answers what its login may not read, too"
        return TargetDownError(f"{doing} failed: it is there, and rclone could not open it", self.where, hint=hint)

    def _meaning(self, said: str, doing: str) -> DrError:
        why = " ".join(_LOGIN.sub("//", said).split())[:300]
        if _UNKNOWN.search(why):
            hint = "correct `remote`, or add it to the configuration file: `rclone config`"
            return DrError("the remote is not in rclone's configuration", self.where, why, hint)
        if _ABSENT.search(why):
            return DamageError(f"{doing}: it is not there", self.where, hint="run `dr verify` to see all")
        if _REFUSED.search(why):
            hint = "give the remote a login that may: `rclone config`"
            return RefusedError("the target refused the credentials", self.where, why, hint=hint)
        hint = "check the network and the service; `rclone lsd` tells more"
        return TargetDownError(f"{doing} failed", self.where, why, hint=hint, retryable=True)


def _error_in(answer: bytes, status: int) -> str:
    """Return what a refusal says."""
    try:
        return str(json.loads(answer).get("error", f"status {status}"))
    except (ValueError, AttributeError):
        return "an answer that is not JSON"


def _sweep() -> None:
    """Remove the directories of programs that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        number = path.name.removeprefix(_FOLDER).partition("-")[0]
        if number.isdecimal() and not Path("/proc", number).exists() and path.stat().st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)


def settings(config: Path) -> Mapping[str, str]:
    """Return the environment by which a restic's rclone finds the same configuration."""
    return {"RCLONE_CONFIG": str(config), **LIMITS}
