"""What the state keeps beside the escrow (`dr.run.keys.escrow`) for self-copies and kits.

`STATE/escrow/host` is an age identity of this host, for which self-copies are sealed too, so that the host can check
them. `control.key` is the key of the code by which a self-copy is known to be ours: anybody can seal for a recipient,
so what merely opens may have been put there by another.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dr.errors import DrError
from dr.tools import age
from dr.tools.secrets import write_private
from dr.tools.state_dir import StateDir


def host_identity(state: StateDir) -> str:
    """Return this host's own age identity; made when absent."""
    return _made_once(state.escrow / "host", age.new_identity()[0])


def control_key(state: StateDir) -> bytes:
    """Return the key by which self-copies are known to be ours; made when absent."""
    return bytes.fromhex(_made_once(state.escrow / "control.key", secrets.token_hex(32)))


def sealed_escrow(state: StateDir) -> dict[str, bytes]:
    """Return the sealed escrow passphrases, by `SYSTEM@TARGET`."""
    return {path.stem: path.read_bytes() for path in sorted(state.escrow.glob("*@*.age"))}


@contextmanager
def noted(state: StateDir, path: Path) -> Iterator[None]:
    """Keep on record where secrets are being written, so that what a kill leaves there is found: `sweep_noted`."""
    note = state.escrow / "unfinished"
    write_private(note, os.fsencode(path.absolute()) + b"\n")
    yield
    note.unlink(missing_ok=True)


def sweep_noted(state: StateDir) -> bool:
    """Remove what a killed run left half written; return whether there was something."""
    note = state.escrow / "unfinished"
    if left := _line(note):
        shutil.rmtree(left, ignore_errors=True)
        note.unlink(missing_ok=True)
    return bool(left)


def settle(directory: Path) -> None:
    """Make what happened in a directory outlast a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _made_once(path: Path, new: str) -> str:
    """Return the line in a file; the new one when it is not there yet. Safe to call at once twice."""
    if (known := _line(path)) is None:
        with suppress(FileExistsError):
            write_private(path, f"{new}\n".encode(), replace=False)
        known = _line(path) or ""
    return known


def _line(path: Path) -> str | None:
    try:
        return path.read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise DrError("a file of the escrow cannot be read", str(path), reason, hint="see its rights") from None
