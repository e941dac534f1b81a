"""One fault as a linter yields it, and what is wrong with files and variables that hold secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dr.errors import Severity
from dr.plan.on_disk import why_no_file
from dr.plan.secret import SecretPlace, why_open, why_unreadable

#: Where in a document, as its keys from the top.
Key = tuple[str | int, ...]
#: Where, what, what to do, how grave.
Found = tuple[Key, str, str, Severity]

MAKE = "make it, with mode 0600"


def secret_faults(at: Key, place: SecretPlace | None, env: Mapping[str, str]) -> Iterator[Found]:
    """Yield what is wrong with the place of a secret."""
    if place and place.file:
        yield from kept_file(at, place.file, "the secret file", MAKE)
    if place and place.env and not env.get(place.env):
        yield at, f"the environment variable {place.env} is not set", "set it where dr runs", "unsound"


def unreadable(at: Key, place: SecretPlace | None, env: Mapping[str, str]) -> Iterator[Found]:
    """Yield why restic could not read the passphrase there as this program does."""
    named, data = "", b""
    if place and place.file and not any(why_no_file(place.file, MAKE)):
        named = f"the secret file {place.file}"
        try:
            data = place.file.read_bytes()
        except OSError as error:
            yield at, f"{named} cannot be read: {error.strerror}", "see the disk that it lies on", "unsound"
            return
    elif place and place.env and env.get(place.env):
        named, data = f"the environment variable {place.env}", env[place.env].encode("utf-8", "surrogateescape")
    what, hint = why_unreadable(data) if named else ("", "")
    if what:
        yield at, f"{named} {what}", hint, "unsound"


def no_file(at: Key, path: Path, named: str, make: str) -> Iterator[Found]:
    """Yield why a file that is named cannot be read here; `make` is what brings it about."""
    what, hint = why_no_file(path, make)
    if what:
        yield at, f"{named} {path} {what}", hint, "unsound"


def kept_file(at: Key, path: Path, named: str, make: str) -> Iterator[Found]:
    """Yield the same of a file that holds a secret, or that others than its owner may read it."""
    missing = list(no_file(at, path, named, make))
    yield from missing
    what, hint = ("", "") if missing else why_open(path)
    if what:
        yield at, f"{named} {what}", hint, "unsound"
