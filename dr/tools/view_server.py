"""A view shown to restic: its REST protocol (version 2), on a socket that only its owner can open.

What restic asks for and cannot be given is refused at once with 404, and named in the view's `refused`. A view of the
past takes nothing; an overlay keeps what restic writes to itself.
"""

from __future__ import annotations

import json
import logging
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from dr.errors import DamageError, DrError, RefusedError
from dr.tools.overlay import OverlayStore
from dr.tools.view import ViewStore

log = logging.getLogger("dr.view")

_LIST = "application/vnd.x.restic.rest.v2"
_TYPES = ("data", "index", "keys", "locks", "snapshots")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, socket: Path, store: ViewStore | OverlayStore) -> None:
        super().__init__(str(socket), _Handler)
        self.store = store

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing on stderr: a reader that goes away is no fault, and a fault shows in what restic says."""
        log.debug("a reader of the view went away")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        store, parts = self.server.store, self._parts()
        if not isinstance(store, OverlayStore) or len(parts) != 2 or parts[0] not in _TYPES:
            self._refuse()
            return
        data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._say(200 if store.write(_stored_name(parts), data) else 403)

    def do_DELETE(self) -> None:
        store, parts = self.server.store, self._parts()
        if not isinstance(store, OverlayStore) or len(parts) != 2 or parts[0] not in _TYPES:
            self._refuse()
            return
        self._say(200 if store.drop(_stored_name(parts)) else 403)

    def _refuse(self) -> None:
        self.close_connection = True  # what it would send is not read
        self._say(405)

    def _parts(self) -> list[str]:
        return self.path.partition("?")[0].strip("/").split("/")

    def address_string(self) -> str:
        return "restic"

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    # -- answering ----------------------------------------------------------------------------------

    def _answer(self, *, body: bool) -> None:
        parts = self._parts()
        try:
            if len(parts) == 1 and parts[0] in _TYPES:
                self._list(parts[0], body=body)
            elif parts == ["config"] or (len(parts) == 2 and parts[0] in _TYPES):
                self._object(_stored_name(parts), body=body)
            else:
                self._say(404)
        except DamageError:
            self._say(404)  # restic asks again for minutes after any other answer
        except DrError as error:
            log.warning("%s", error)
            self._say(403 if isinstance(error, RefusedError) else 503)

    def _list(self, kind: str, *, body: bool) -> None:
        """Name the objects of a kind. Locks are those of another time, and none of them holds us."""
        store = self.server.store
        items = () if kind == "locks" else store.list("data/") if kind == "data" else store.sound(f"{kind}/")
        names = [{"name": item.name.rpartition("/")[2], "size": item.size} for item in items]
        text = json.dumps(names).encode()
        self._say(200, text if body else b"", kind=_LIST, length=len(text))

    def _object(self, name: str, *, body: bool) -> None:
        store = self.server.store
        if not name.startswith("data/"):
            data = store.get(name)
            self._say(200, data if body else b"", length=len(data))
            return
        size = store.size(name)
        if size is None:
            self._say(404)
        elif body:
            self._part(name, size)
        else:
            self._say(200, length=size)

    def _part(self, name: str, size: int) -> None:
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2]) + 1 if asked[2] else size) if asked else (0, size)
        end = min(end, size)
        chunks = self.server.store.part(name, start, end)
        first = next(chunks, b"")  # before the answer begins: an error must not come as bytes
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(max(end - start, 0)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        self.wfile.write(first)
        try:
            for chunk in chunks:
                self.wfile.write(chunk)
        except DrError as error:
            log.warning("%s", error)
            self.close_connection = True  # short of what was promised: restic asks again

    def _say(self, code: int, body: bytes = b"", *, kind: str = "application/octet-stream", length: int = 0) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)


def _stored_name(parts: list[str]) -> str:
    """Return the name that an object has where it is stored: data lies in folders there."""
    return f"data/{parts[1][:2]}/{parts[1]}" if parts[0] == "data" else "/".join(parts)


@contextmanager
def shown(store: ViewStore | OverlayStore, socket: Path) -> Iterator[str]:
    """Show a view until the block ends; give the location by which restic finds it.

    `socket` must be absent, and in a directory that only its owner can open.
    """
    with _Server(socket, store) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"rest:http+unix://{socket}:/"
        finally:
            server.shutdown()
            thread.join()
            with suppress(FileNotFoundError):
                socket.unlink()
