"""The self-copy: all that a recovery needs and no repository holds, sealed beside the repositories.

Plans, targets, small files that plans run, the catalog with its evidence, passphrases and key pairs, as one age file
`_control/TIME-DIGEST.age` in the root of a target. It is sealed for the organisation's recipient and for this host.
What opens was not for that made by us: anybody can seal for a recipient. Hence the code in its first line, an HMAC
by a key that only this host and earlier self-copies hold (`dr.run.keys.host_keys`).

Opened, it is that line of JSON and a gzipped tar: `age -d -i IDENTITY FILE | tail -n +2 | tar xz`.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from pathlib import PurePosixPath

from dr.errors import DamageError, DrError, RefusedError
from dr.late_dataclass import dataclass
from dr.tools import age
from dr.tools.store import ObjectStore

PLACE = "_control"
#: So many of the newest are kept where the credentials may delete; elsewhere all of them stay.
KEPT = 30
#: Name in the copy -> bytes.
Contents = Mapping[str, bytes]
_NAME = re.compile(r"(\d{8}T\d{6})(\d{6})Z-[0-9a-f]{12}\.age")
_LARGEST = 1 << 30
_TRIED = 50  # of one target: whoever can write there can put junk there


@dataclass(frozen=True)
class SelfCopy:
    """One self-copy, opened. `genuine` says whether it bears our code; None when no key was there to see by."""

    name: str
    made: datetime
    contents: Contents = field(repr=False)
    genuine: bool | None = None

    def json(self, name: str) -> dict[str, object]:
        """Return one of its JSON documents; `DamageError` when it is none."""
        try:
            found = json.loads(self.contents[name])
        except (KeyError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise DamageError(f"the self-copy has no usable {name}", self.name, hint="use another one")
        return found

    def below(self, folder: str) -> dict[str, bytes]:
        """Return what lies in a folder, by name in it."""
        top = f"{folder}/"
        return {name.removeprefix(top): data for name, data in self.contents.items() if name.startswith(top)}


def digest_of(contents: Contents) -> str:
    """Return what tells two contents apart."""
    lines = (f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in sorted(contents.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pack(contents: Contents, *, made: datetime, key: bytes, recipients: Iterable[str]) -> tuple[str, bytes]:
    """Return the name and the bytes of a new self-copy."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(contents.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o600, int(made.timestamp())
            tar.addfile(member, io.BytesIO(data))
    payload = gzip.compress(body.getvalue(), compresslevel=5, mtime=0)
    head = {"schema": 1, "made": made.astimezone(UTC).isoformat(), "code": _code(key, made, payload)}
    sealed = age.seal(json.dumps(head).encode() + b"\n" + payload, list(recipients))
    return f"{made.astimezone(UTC):%Y%m%dT%H%M%S%f}Z-{hashlib.sha256(sealed).hexdigest()[:12]}.age", sealed


def unpack(sealed: bytes, *, identity: str, key: bytes | None, name: str) -> SelfCopy:
    """Return what a self-copy holds. `RefusedError` when the identity does not open it, `DamageError` for nonsense."""
    head, _, payload = age.unseal(sealed, identity).partition(b"\n")
    try:
        said = json.loads(head)
        made, code = datetime.fromisoformat(said["made"]), str(said["code"])
        contents = _untar(gzip.decompress(payload))
    except (ValueError, KeyError, TypeError, OSError, EOFError, tarfile.TarError) as error:
        raise DamageError(
            "this is not a self-copy, or not a whole one", name, type(error).__name__, hint="use another one"
        ) from None
    genuine = None if key is None else hmac.compare_digest(code, _code(key, made, payload))
    return SelfCopy(name, made, contents, genuine)


def _code(key: bytes, made: datetime, payload: bytes) -> str:
    said = made.astimezone(UTC).isoformat().encode() + b"\n" + payload
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def _untar(data: bytes) -> dict[str, bytes]:
    """Return the files of a tar; `ValueError` for a name that leads out of it, or for too much."""
    found, size = {}, 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if not member.isfile() or path.is_absolute() or ".." in path.parts:
                raise ValueError("a member that is not a file of ours")
            size += member.size
            if size > _LARGEST:
                raise ValueError("too much")
            body = tar.extractfile(member)
            found[member.name] = body.read() if body else b""
    return found


# -- on targets --------------------------------------------------------------------------------------


def names(root: ObjectStore) -> list[str]:
    """Return the names of the self-copies on a target, newest first."""
    found = [stored.name for stored in root.child(PLACE).list()]
    return sorted((name for name in found if _NAME.fullmatch(name)), reverse=True)


def put(root: ObjectStore, name: str, sealed: bytes, *, tidy: bool) -> None:
    """Store a self-copy on a target; with `tidy`, take the oldest away where that is permitted."""
    there = root.child(PLACE)
    there.put(name, sealed)
    if tidy:
        for old in names(root)[KEPT:]:
            try:
                there.remove(old)
            except RefusedError:
                return  # as it should be: credentials that back up need not delete


def newest(
    roots: Mapping[str, ObjectStore], *, identity: str, key: bytes | None, say: list[str]
) -> tuple[str, SelfCopy] | None:
    """Return the newest genuine self-copy that any target has, and which target; None when none has one.

    Targets that do not answer, and copies that do not open or are not ours, are passed over, and `say` hears of it.
    """
    best: tuple[str, SelfCopy] | None = None
    for target, root in roots.items():
        try:
            root.reachable()
            found = _newest_here(root, identity, key, above=best[1].name if best else "", say=say)
        except DrError as error:
            say.append(f"target {target} cannot be used: {error}")
            continue
        if found:
            best = (target, found)
    return best


def _newest_here(root: ObjectStore, identity: str, key: bytes | None, *, above: str, say: list[str]) -> SelfCopy | None:
    for name in names(root)[:_TRIED]:
        if name <= above:
            break
        try:
            copy = unpack(root.child(PLACE).get(name), identity=identity, key=key, name=name)
        except (RefusedError, DamageError) as error:
            say.append(f"{root.where}/{PLACE}/{name} is passed over: {error.what}")
            continue
        if copy.genuine is not False and copy.made == when(name):
            return copy
        say.append(f"{root.where}/{PLACE}/{name} is passed over: it was not put there by the host of this organisation")
    return None


def when(name: str) -> datetime:
    """Return the time in the name of a self-copy; `DamageError` for another name."""
    found = _NAME.fullmatch(name)
    if not found:
        raise DamageError("this is not the name of a self-copy", name, hint="use one from _control")
    return datetime.strptime(found[1] + found[2], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
