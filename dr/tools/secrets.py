"""Secrets: where they are read from, and a generated passphrase that nobody else can read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

from dr.errors import DrError, RefusedError
from dr.late_dataclass import dataclass


@dataclass(frozen=True)
class S3Keys:
    """An S3 key pair; the secret half is never shown."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def read_aws_file(path: Path, profile: str) -> S3Keys:
    """Return a profile's key pair from a file in AWS shared-credentials format; else `RefusedError`."""
    import configparser  # few commands read keys

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        # A parser's own words would quote the file's lines.
        reason = getattr(error, "strerror", None) or "it is not in AWS shared-credentials format"
        raise RefusedError(
            f"the credentials file {path} cannot be read", cause=reason, hint="make it, or name another"
        ) from None
    if not parser.has_section(profile):
        raise RefusedError(
            f"the credentials file {path} has no profile [{profile}]", hint="add it, or name another profile"
        )
    keys = [parser.get(profile, name, fallback="").strip() for name in ("aws_access_key_id", "aws_secret_access_key")]
    if not all(keys):
        raise RefusedError(
            f"the profile [{profile}] of {path} lacks a key",
            hint="it needs aws_access_key_id and aws_secret_access_key",
        )
    return S3Keys(keys[0], keys[1], parser.get(profile, "aws_session_token", fallback="").strip())


def generated_passphrase(path: Path) -> Path:
    """Return the passphrase file, made with 32 random bytes (0600) when absent. Safe to call at once twice.

    Raises `RefusedError` when the file is open to others or empty.
    """
    try:
        _make(path)
    except FileExistsError:
        pass
    except OSError as error:
        raise DrError(
            "the passphrase cannot be written", str(path), error.strerror or "", hint="free some space or rights"
        ) from error
    status = path.stat()
    if status.st_mode & 0o077:
        raise RefusedError(
            "the passphrase file is open to others", str(path), hint=f"chmod 600 {path}, and ask who read it"
        )
    if status.st_size == 0:
        raise RefusedError(
            "the passphrase file is empty", str(path), hint="put the passphrase back from your copy of the secrets"
        )
    return path


def new_passphrase() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def spoken_passphrase() -> str:
    """Return 150 random bits as six groups of five letters and digits that a person can read out and type.

    The alphabet of base32 (RFC 4648) has neither 0 nor 1: nothing in it is taken for another.
    """
    return "-".join("".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(5)) for _ in range(6))


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file that nobody else can read (0600): there whole or not at all, whatever kills us.

    `FileExistsError` when it is there and may not be replaced; `DrError` when it cannot be written.
    """
    try:
        with _beside(path, data) as beside:
            if replace:
                beside.replace(path)
            else:
                path.hardlink_to(beside)
            _settle(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise DrError(
            "a secret cannot be written", str(path), error.strerror or "", hint="free some space or rights"
        ) from error


def shred(path: Path) -> bool:
    """Overwrite a file and remove it; return whether it was there. May be called twice.

    Where the file system keeps old blocks (journals, snapshots, flash), the old bytes may still be found.
    """
    try:
        with path.open("r+b", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            for fill in (secrets.token_bytes(size), bytes(size)):
                file.seek(0)
                file.write(fill)
                os.fsync(file.fileno())
        path.unlink()
        _settle(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DrError(
            "a secret cannot be removed", str(path), error.strerror or "", hint="see the file and its rights"
        ) from error
    return True


def _make(path: Path) -> None:
    """The file is there whole or not at all, whatever kills us."""
    if path.exists():
        return
    with _beside(path, (new_passphrase() + "\n").encode()) as beside:
        path.hardlink_to(beside)


@contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """Lend a file beside the one that is to be, with all of the data on the disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """Have the names in a directory on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
