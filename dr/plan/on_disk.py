"""A file that a declaration names, as it is found on this machine: there, or in which way it is not.

"Not there" is said of nothing that is there: who was told so of a directory, or of a file that is closed to the user
that `dr` runs as, would look in the wrong place.

There is one reading of a secret: what restic makes of a passphrase file. White space around the secret does not count,
and what restic and this program would read otherwise is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import Severity

if TYPE_CHECKING:
    from dr.plan.secret import SecretPlace

#: Where in a document, as its keys from the top.
Key = tuple[str | int, ...]
#: Where, what, what to do, how grave.
Found = tuple[Key, str, str, Severity]

MAKE = "make it, with mode 0600"
#: What an editor may put before a text, and nobody sees: UTF-8, UTF-16.
_MARKS = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")
_LINE_ENDS = "\n\v\f\r\x85\u2028\u2029"


def why_no_file(path: Path, make: str) -> tuple[str, str]:
    """Return why a file cannot be read, and what to do; two empty texts when it can. `make` is what brings it about."""
    try:
        status = path.stat()
    except OSError as error:
        return _missing(path, error, make)
    if stat.S_ISDIR(status.st_mode):
        return "is a directory, not a file", "name the file in it"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file", make
    return _closed(path, os.R_OK)


def why_no_directory(path: Path, make: str) -> tuple[str, str]:
    """Return the same of a directory."""
    try:
        status = path.stat()
    except OSError as error:
        return _missing(path, error, make)
    if not stat.S_ISDIR(status.st_mode):
        return "is a file, not a directory", "name the directory that it lies in"
    return _closed(path, os.R_OK | os.X_OK)


def why_not_found(path: Path, make: str) -> tuple[str, str]:
    """Return why there is nothing at a path, of whatever kind."""
    try:
        path.stat()
    except OSError as error:
        return _missing(path, error, make)
    return "", ""


def _missing(path: Path, error: OSError, make: str) -> tuple[str, str]:
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there", make
    if error.errno == errno.ENOENT:
        return "is not there", make
    if error.errno == errno.ENOTDIR:
        above = next((each for each in path.parents if each.exists()), path.parent)
        return f"is not there: {above} is a file, not a directory", make
    if error.errno == errno.EACCES:
        return f"is out of reach for {_user()}: a directory above it may not be entered", _let_in(path)
    return f"cannot be looked at: {error.strerror or error}", "see the file system that it lies on"


def _closed(path: Path, wanted: int) -> tuple[str, str]:
    if os.access(path, wanted, effective_ids=os.access in os.supports_effective_ids):
        return "", ""
    return f"may not be read by {_user()}", _let_in(path)


def _user() -> str:
    return "this user" if os.geteuid() else "root"


def _let_in(path: Path) -> str:
    return f"run `dr` as its owner, or see `namei -l {path}`"


# -- secrets -----------------------------------------------------------------------------------------


def why_unreadable(data: bytes) -> tuple[str, str]:
    """Return why nothing can be read as a secret from these bytes, and what to do; two empty texts when it can.

    Quotes nothing of them.
    """
    if data.startswith(_MARKS):
        return "begins with a byte order mark, which is not part of a passphrase", "write it again without the mark"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "is not text in UTF-8", "write the secret again, as plain text"
    secret = text.strip()
    if not secret:
        return "is empty", "put the secret on its first line"
    if any(end in secret for end in _LINE_ENDS):
        return "holds several lines, which restic takes for one passphrase", "leave the secret's own line alone in it"
    if any(ord(each) < 32 and each != "\t" and each not in _LINE_ENDS for each in text) or "\x7f" in text:
        return "holds a control character", "write the secret again, as plain text"
    return "", ""


def why_open(path: Path) -> tuple[str, str]:
    """Return who else than its owner may read a file or write it, and what to do; two empty texts for nobody."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return "", ""
    if not mode & 0o077:
        return "", ""
    who = "everybody here" if mode & 0o007 else "its group"
    return f"{path} is open to {who} (mode {mode:04o})", f"close it with `chmod 600 {path}`"


# -- as a linter yields it ----------------------------------------------------------------------------


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
