"""The manifest: what the orchestrator itself saw and hashed at capture, independent of restic.

A file of JSON lines: a header, one array an entry, and an end that counts and hashes all before it, so
that a manifest cut short or altered is never taken for a whole one. Names that are no UTF-8 survive.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dr.errors import DamageError

SCHEMA = 1
Kind = Literal["file", "dir", "link", "other"]
State = Literal["ok", "changed", "unreadable"]
_BATCH = 1000
_decode = json.JSONDecoder().raw_decode


class Entry(NamedTuple):
    """One thing captured. `path` is where the snapshot has it; `sha256` is None for all but files read.

    `state`: `changed` while it was captured, so that no one content can be claimed; `unreadable`: not captured.
    `mode` is the whole `st_mode`; 0 where nobody can know it (a stream).
    `attributes` is a digest of its ACLs and extended attributes, where it has any (`dr.evidence.attributes`).
    Sizes in bytes, times in nanoseconds since the epoch. A named tuple: there may be millions.
    """

    path: bytes
    kind: Kind
    size: int = 0
    sha256: str | None = None
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    device: int = 0
    link_target: bytes | None = None
    state: State = "ok"
    attributes: str | None = None


def write(path: Path, header: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """Write a manifest, whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    first = json.dumps({"schema": SCHEMA, **header, "ends": True}).encode() + b"\n"
    digest, count, rest = hashlib.sha256(first), 0, iter(entries)
    with beside.open("wb") as file:
        file.write(first)
        while batch := [_line(entry) for entry in islice(rest, _BATCH)]:
            block = "".join(batch).encode("ascii")
            digest.update(block)
            file.write(block)
            count += len(batch)
        file.write(json.dumps({"entries": count, "sha256": digest.hexdigest()}).encode() + b"\n")
    beside.replace(path)


def write_stream(
    path: Path, *, source: str, kind: str, started: datetime, filename: str, size: int, sha256: str
) -> None:
    """Write the manifest of a stream: one file at the root of its snapshot."""
    entry = Entry(os.fsencode(f"/{filename}"), "file", size, sha256)
    write(path, header_of(source=source, kind=kind, started=started) | {"form": "stream"}, [entry])


def header_of(*, source: str, kind: str, started: datetime) -> dict[str, Any]:
    """Return a header; `started` is when the capture began."""
    return {"source": source, "kind": kind, "started": started.astimezone(UTC).isoformat()}


def header(path: Path) -> dict[str, Any]:
    """Return a manifest's header. Raises `DamageError` when the file is no manifest."""
    try:
        with path.open("rb") as file:
            return _header(file.readline())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def is_stream(path: Path) -> bool:
    """Whether a manifest is that of one stream. Raises `DamageError` when the file is no manifest."""
    found = header(path)
    return found.get("form") == "stream" or found.get("kind") == "command"  # those of 0.1 said it by their kind


def read(path: Path) -> Iterator[Entry]:
    """Yield the entries of a manifest.

    Raises `DamageError` when it cannot be understood; one that was cut short or altered raises at its end.
    """
    return entries_beside(path, set())


class Listed(NamedTuple):
    """A file as two manifests are compared by it."""

    path: bytes
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Difference:
    """The files that two manifests do not have in common, by path and content, and how many they do."""

    gone: tuple[Listed, ...]
    come: tuple[Listed, ...]
    same: int


def difference(old: Path, new: Path) -> Difference:
    """Compare the files of two manifests, decoding only the lines that differ: a million alike take two seconds.

    A file of other owner, mode or times alone is the same. Raises `DamageError` when one cannot be understood; that
    they are whole is not seen to again.
    """
    try:
        known = {hash(line) for line in _file_lines(old)}
        fresh, same = set(), 0
        for line in _file_lines(new):
            if (key := hash(line)) in known:
                known.discard(key)
                same += 1
            else:
                fresh.add(key)
        gone = {file.path: file for file in _decoded(old, known)}
        come = []
        for file in _decoded(new, fresh):
            before = gone.get(file.path)
            if before and before.sha256 == file.sha256:
                del gone[file.path]
                same += 1
            else:
                come.append(file)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(old, error) from error
    return Difference(tuple(gone.values()), tuple(come), same)


def _decoded(path: Path, keys: set[int]) -> Iterator[Listed]:
    """Yield the files whose lines have these hashes."""
    for line in _file_lines(path) if keys else ():
        if hash(line) in keys:
            entry = _entry(_decode(line.decode("ascii"))[0])
            yield Listed(entry.path, entry.size, entry.sha256)


def line_keys(path: Path) -> set[int]:
    """Return a key for each entry of a manifest: this process knows a line by it again. Raises `DamageError`."""
    last = b""
    try:
        with path.open("rb") as file:
            _header(file.readline())
            keys = {hash(last := line) for line in file}
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if last.startswith(b"{"):  # the end, which is no entry
        keys.discard(hash(last))
    return keys


def entries_beside(path: Path, known: set[int]) -> Iterator[Entry]:
    """Yield the entries of a manifest whose lines are not known by their keys, and forget the keys of those that are.

    What is left in `known` was met in no line. Raises `DamageError` as `read` does, at the end where it was altered.
    """
    try:
        with path.open("rb") as file:
            first = file.readline()
            ends = _header(first).get("ends", False)
            digest = hashlib.sha256(first)
            for count, line in enumerate(file):
                key = hash(line)
                if key in known:
                    known.discard(key)
                elif line[:1] == b"{":
                    if json.loads(line) != {"entries": count, "sha256": digest.hexdigest()} or file.read(1):
                        raise ValueError("it was altered")
                    return
                else:
                    yield _entry(_decode(line.decode("ascii"))[0])
                digest.update(line)
            if ends:
                raise ValueError("it was cut short")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from error


def entries_of(path: Path, keys: Collection[int]) -> Iterator[Entry]:
    """Yield the entries of a manifest whose lines have these keys. Raises `DamageError` when one cannot be read."""
    try:
        with path.open("rb") as file:
            _header(file.readline())
            for line in file:
                if hash(line) in keys and line[:1] != b"{":
                    yield _entry(_decode(line.decode("ascii"))[0])
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from error


#: No path holds this: its quotes would be escaped.
_A_FILE = b'", "file", '


def _file_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a manifest's files."""
    with path.open("rb") as file:
        _header(file.readline())
        yield from (line for line in file if _A_FILE in line)


def _header(line: bytes) -> dict[str, Any]:
    found = json.loads(line.decode("ascii"))
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ValueError("it has no header")
    return found


def _damaged(path: Path, error: Exception) -> DamageError:
    own = type(error) is ValueError and str(error).startswith("it ")
    reason = str(error) if own else (error.strerror or "") if isinstance(error, OSError) else ""
    return DamageError("the manifest cannot be read", path.name, reason, hint="use another point or target")


def _text(name: bytes) -> str:
    return _quoted(name.decode("utf-8", "surrogateescape"))


def _line(entry: Entry) -> str:
    path, kind, size, sha256, mode, uid, gid, mtime, ctime, inode, device, target, state, attributes = entry
    digest = "null" if sha256 is None else f'"{sha256}"'
    link = "null" if target is None else _text(target)
    more = "" if attributes is None else f", {_quoted(attributes)}"
    return (
        f'[{_text(path)}, "{kind}", {size}, {digest}, {mode}, {uid}, {gid},'
        f' {mtime}, {ctime}, {inode}, {device}, {link}, "{state}"{more}]\n'
    )


def _entry(values: list[Any]) -> Entry:
    path, kind, size, sha256, mode, uid, gid, mtime, ctime, inode, device, target, state, *more = values
    if len(more) > 1 or not all(isinstance(value, str) for value in more):
        raise ValueError("it has an entry that is not one")
    return Entry(
        path.encode("utf-8", "surrogateescape"), kind, size, sha256, mode, uid, gid, mtime, ctime, inode, device,
        None if target is None else target.encode("utf-8", "surrogateescape"), state,
        more[0] if more else None,
    )  # fmt: skip
