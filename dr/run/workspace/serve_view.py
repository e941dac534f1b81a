"""A view's repository: restic reads it through a socket that only its owner can open."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dr.tools.overlay import OverlayStore
from dr.tools.restic import Repository
from dr.tools.state_dir import StateDir
from dr.tools.view import ViewStore

#: A socket's path has at most 107 bytes.
_SHORT = 100
#: A socket younger than so many seconds may be one on which its maker does not listen yet.
_YOUNG = 60
#: No proxy stands between restic and the socket.
_PLAIN = {"HTTP_PROXY": "", "http_proxy": "", "HTTPS_PROXY": "", "https_proxy": ""}


def seen_through(
    store: ViewStore | OverlayStore, repository: Repository, *, where: str, state: StateDir, until: ExitStack
) -> Repository:
    """Return the repository as a view or an overlay shows it, until the stack is closed. Its place is not written."""
    from dr.tools.view_server import shown  # an HTTP server: who brings one file back waits for every import

    location = until.enter_context(shown(store, _socket(state, until)))
    return replace(
        repository,
        location=location,
        where=where,
        cache=state.cache / "view",  # restic clears a cache of what it does not see
        env={**repository.env, **_PLAIN},
        options=(),
    )


def _socket(state: StateDir, until: ExitStack) -> Path:
    home = state.views
    if len(os.fsencode(home)) > _SHORT - 16:
        home = Path(until.enter_context(tempfile.TemporaryDirectory(prefix="dr-")))
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(home)
    return home / secrets.token_hex(4)


def sweep_views(state: StateDir) -> int:
    """Remove the sockets on which nobody listens any more, and return how many: their process was killed."""
    home = state.views
    return _sweep(home) if home.is_dir() else 0


def _sweep(home: Path) -> int:
    count = 0
    for path in home.iterdir():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                if time.time() - path.lstat().st_mtime > _YOUNG:
                    probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                count += 1
            except OSError:
                continue
    return count
