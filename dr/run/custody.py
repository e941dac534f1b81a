"""What the state keeps of sealing: who can open, and what makes a self-copy our own.

`STATE/escrow/recipient` is the organisation's age recipient. Its secret half, `identity`, lies beside it only until
a recovery kit has handed it to its custodians. `host` is an age identity of this host, for which self-copies are
sealed too, so that the host can check them. `control.key` is the key of the code by which a self-copy is known to be
ours: anybody can seal for a recipient, so what merely opens may have been put there by another.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dr.errors import DrError
from dr.tools import age


def folder(state: Path) -> Path:
    """Where it all lies."""
    return state / "escrow"


def recipient_of(state: Path) -> str | None:
    """Return the organisation's recipient; None when escrow is switched off. Made, with its identity, when absent."""
    with _alone(state):
        if not (known := read(folder(state) / "recipient")):
            secret = identity_here(state)
            if not secret:
                secret, _ = age.new_identity()
                write(folder(state) / "identity", f"{secret}\n".encode())
            known = age.recipient_of(secret)
            write(folder(state) / "recipient", f"{known}\n".encode())
    return None if known == "none" else known


def identity_here(state: Path) -> str | None:
    """Return the organisation's secret identity; None when custodians hold it, and this host does not."""
    return read(folder(state) / "identity")


def take_identity(state: Path) -> None:
    """Remove the organisation's identity from this host, lastingly: custodians have it now. May be called twice."""
    (folder(state) / "identity").unlink(missing_ok=True)
    settle(folder(state))


def new_recipient(state: Path) -> tuple[str, str]:
    """Begin a new pair; return identity and recipient. What was sealed before stays sealed for the old one."""
    secret, known = age.new_identity()
    write(folder(state) / "identity", f"{secret}\n".encode())
    write(folder(state) / "recipient", f"{known}\n".encode())
    return secret, known


def host_identity(state: Path) -> str:
    """Return this host's own age identity; made when absent."""
    with _alone(state):
        path = folder(state) / "host"
        if not (known := read(path)):
            known, _ = age.new_identity()
            write(path, f"{known}\n".encode())
    return known


def control_key(state: Path) -> bytes:
    """Return the key by which self-copies are known to be ours; made when absent."""
    with _alone(state):
        path = folder(state) / "control.key"
        if not (known := read(path)):
            known = secrets.token_hex(32)
            write(path, f"{known}\n".encode())
    return bytes.fromhex(known)


def sealed_escrow(state: Path) -> dict[str, bytes]:
    """Return the sealed escrow passphrases, by `SYSTEM@TARGET`."""
    return {path.stem: path.read_bytes() for path in sorted(folder(state).glob("*@*.age"))}


@contextmanager
def noted(state: Path, path: Path) -> Iterator[None]:
    """Keep on record where secrets are being written, so that what a kill leaves there is found: `sweep_noted`."""
    note = folder(state) / "unfinished"
    write(note, f"{path.absolute()}\n".encode())
    yield
    note.unlink(missing_ok=True)


def sweep_noted(state: Path) -> None:
    """Remove what a killed run left half written."""
    note = folder(state) / "unfinished"
    if left := read(note):
        shutil.rmtree(left, ignore_errors=True)
        note.unlink(missing_ok=True)


def read(path: Path) -> str | None:
    """Return the first line of a small file; None when it is absent or empty."""
    try:
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise DrError("this file cannot be read", str(path), reason, hint="correct its rights") from None
    return lines[0].strip() if lines else None


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole and lastingly, or not at all. Raises `DrError`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        settle(path.parent)
    except OSError as error:
        raise DrError(
            "this file cannot be written", str(path), error.strerror or "", hint="see the rights and the free space"
        ) from error


def settle(directory: Path) -> None:
    """Make what happened in a directory outlast a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Keep other makers of keys out, for a moment."""
    folder(state).mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder(state) / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
