"""The manifest: what the orchestrator itself saw and hashed at capture, independent of restic.

A file of JSON lines: a header, one array an entry, and an end that counts and hashes all before it, so
that a manifest cut short or altered is never taken for a whole one. Names that are no UTF-8 survive.

The lines of a tree's entries are in the byte order of their text, which its header says (`SORTED`): so two manifests
are compared, and parts put together (`dr.evidence.manifest_parts`), line by line, whatever their size.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dr.errors import DamageError

SCHEMA = 1
Kind = Literal["file", "dir", "link", "other"]
State = Literal["ok", "changed", "unreadable"]
#: What a header says of a manifest whose lines are in order.
SORTED = "sorted"
_BATCH = 1000
_TAIL = 4096  # bytes in which the last line is
_BLOCK = 1 << 20
_A_FILE = b'", "file", '  # no path holds this: its quotes are escaped
_DIGITS = 64  # of a SHA-256
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
    write_lines(path, header, map(line_of, entries))


def write_lines(path: Path, header: Mapping[str, Any], lines: Iterable[bytes]) -> None:
    """Write a manifest of lines that are made, whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    first = json.dumps({"schema": SCHEMA, **header, "ends": True}).encode() + b"\n"
    digest, count, rest = hashlib.sha256(first), 0, iter(lines)
    with beside.open("wb") as file:
        file.write(first)
        while batch := list(islice(rest, _BATCH)):
            block = b"".join(batch)
            digest.update(block)
            file.write(block)
            count += len(batch)
        file.write(end_of(count, digest.hexdigest()))
    beside.replace(path)


def end_of(entries: int, sha256: str) -> bytes:
    """Return the last line of a manifest: how many entries it has, and the digest of all before this line."""
    return json.dumps({"entries": entries, "sha256": sha256}).encode() + b"\n"


def ends(path: Path) -> tuple[bytes, bytes]:
    """Return the first and the last line of a manifest. Raises `DamageError` where it has no such."""
    first, last = _outer(path)
    if not last.startswith(b"{"):
        raise damaged(path, ValueError("it was cut short"))
    return first, last


def _outer(path: Path) -> tuple[bytes, bytes]:
    try:
        with path.open("rb") as file:
            first = file.readline()
            _header(first)
            file.seek(max(len(first), file.seek(0, os.SEEK_END) - _TAIL))
            return first, b"".join(file.read().splitlines(keepends=True)[-1:])
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a manifest's entries as they are. Raises `DamageError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            _header(file.readline())
            for line in file:
                if line.startswith(b"{"):
                    return
                yield line
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error


def is_sorted(path: Path) -> bool:
    """Whether a manifest says that its lines are in order. Raises `DamageError` when the file is no manifest."""
    return header(path).get(SORTED) is True


def key_of(line: bytes) -> bytes:
    """Return what orders a line, and names its path: no two paths of a manifest have the same.

    No path holds a quote, a comma and a quote: its quotes are escaped. A line of the path alone (`["/path"]`) is one
    of what went away.
    """
    end = line.find(b'", "')
    return line[: end + 1] if end >= 0 else line[:-2]


def file_of(line: bytes) -> bytes | None:
    """Return the path of the line of a file, of which nothing else is decoded; None where there is none."""
    end = line.find(_A_FILE)
    if end < 0:
        return None
    try:
        return unspelt(line[1 : end + 1])
    except ValueError:
        return None


def tells_of(line: bytes, status: os.stat_result) -> bool:
    """Whether a line is that of a file of this status, and of the state `ok`. Nothing is decoded."""
    end = line.find(_A_FILE)
    begin = b'", "file", %d, "' % status.st_size
    return line.startswith(begin, end) and line.startswith(
        b'", %d, %d, %d, %d, %d, %d, %d, null, "ok"' % (
            status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ctime_ns, status.st_ino,
            status.st_dev,
        ),
        end + len(begin) + _DIGITS,
    )  # fmt: skip


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
        raise damaged(path, error) from error


def is_stream(path: Path) -> bool:
    """Whether a manifest is that of one stream. Raises `DamageError` when the file is no manifest."""
    found = header(path)
    return found.get("form") == "stream" or found.get("kind") == "command"  # those of 0.1 said it by their kind


def read(path: Path) -> Iterator[Entry]:
    """Yield the entries of a manifest.

    Raises `DamageError` when it cannot be understood; one that was cut short or altered raises at its end.
    """
    try:
        with path.open("rb") as file:
            first = file.readline()
            ended = _header(first).get("ends", False)
            digest = hashlib.sha256(first)
            for count, line in enumerate(file):
                if line[:1] == b"{":
                    if json.loads(line) != {"entries": count, "sha256": digest.hexdigest()} or file.read(1):
                        raise ValueError("it was altered")
                    return
                yield entry_of(line)
                digest.update(line)
            if ended:
                raise ValueError("it was cut short")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, error) from error


def is_whole(path: Path) -> bool:
    """Whether a manifest is as it was written, by its own digest; no entry is decoded. Those of 0.1 had none."""
    try:
        first, last = _outer(path)
        if json.loads(first).get("ends", False) is not True and not last.startswith(b"{"):
            return True
        with path.open("rb") as file:
            digest, count, left = hashlib.sha256(), 0, os.fstat(file.fileno()).st_size - len(last)
            while block := file.read(min(left, _BLOCK)):
                digest.update(block)
                count, left = count + block.count(b"\n"), left - len(block)
    except (DamageError, OSError):
        return False
    return last == end_of(count - 1, digest.hexdigest())  # the header is no entry


def _header(line: bytes) -> dict[str, Any]:
    found = json.loads(line.decode("ascii"))
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ValueError("it has no header")
    return found


def damaged(path: Path, error: Exception) -> DamageError:
    """Return what is raised of a manifest that cannot be understood."""
    if path.is_dir():  # whose parts do not make a whole
        error = ValueError("it has parts that are missing or altered")
    own = type(error) is ValueError and str(error).startswith("it ")
    reason = str(error) if own else (error.strerror or "") if isinstance(error, OSError) else ""
    return DamageError("the manifest cannot be read", path.name, reason, hint="use another point or target")


def spelt(name: bytes) -> str:
    """Return a path as its line has it: the order of these texts is that of the lines."""
    return _quoted(name.decode("utf-8", "surrogateescape"))


def unspelt(text: bytes) -> bytes:
    """Return the path that is spelt so; a quote ends it, or whatever stands there. Raises `ValueError`."""
    path = text[1:-1]
    if b"\\" not in path:
        return path
    return bytes(_decode(f'"{path.decode("ascii")}"')[0].encode("utf-8", "surrogateescape"))


def line_of(entry: Entry) -> bytes:
    """Return the line of an entry."""
    path, kind, size, sha256, mode, uid, gid, mtime, ctime, inode, device, target, state, attributes = entry
    digest = "null" if sha256 is None else f'"{sha256}"'
    link = "null" if target is None else spelt(target)
    more = "" if attributes is None else f", {_quoted(attributes)}"
    return (
        f'[{spelt(path)}, "{kind}", {size}, {digest}, {mode}, {uid}, {gid},'
        f' {mtime}, {ctime}, {inode}, {device}, {link}, "{state}"{more}]\n'
    ).encode("ascii")


def entry_of(line: bytes) -> Entry:
    """Return the entry of a line. Raises `ValueError` and the like where it has none."""
    return _entry(_decode(line.decode("ascii"))[0])


def _entry(values: list[Any]) -> Entry:
    path, kind, size, sha256, mode, uid, gid, mtime, ctime, inode, device, target, state, *more = values
    if more and (len(more) > 1 or not isinstance(more[0], str)):
        raise ValueError("it has an entry that is not one")
    return Entry(
        path.encode("utf-8", "surrogateescape"), kind, size, sha256, mode, uid, gid, mtime, ctime, inode, device,
        None if target is None else target.encode("utf-8", "surrogateescape"), state,
        more[0] if more else None,
    )  # fmt: skip
