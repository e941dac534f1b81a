"""The manifest: what the orchestrator itself saw and hashed at capture, independent of restic.

A file of JSON lines: a header, then one array an entry. Names that are no UTF-8 survive the round trip.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dr.errors import DamageError

SCHEMA = 1
Kind = Literal["file", "dir", "link", "other"]
State = Literal["ok", "changed", "unreadable"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing captured. `path` is where the snapshot has it; `sha256` is None for all but files read.

    `state`: `changed` while it was read, so that no one content can be claimed; `unreadable`: not captured.
    `mode` is the whole `st_mode`; 0 where nobody can know it (a stream).
    Sizes in bytes, times in nanoseconds since the epoch.
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


def write(path: Path, header: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """Write a manifest, whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="ascii") as file:
        file.write(json.dumps({"schema": SCHEMA, **header}) + "\n")
        file.writelines(_line(entry) for entry in entries)
    beside.replace(path)


def write_stream(
    path: Path, *, source: str, kind: str, started: datetime, filename: str, size: int, sha256: str
) -> None:
    """Write the manifest of a stream: one file at the root of its snapshot."""
    entry = Entry(os.fsencode(f"/{filename}"), "file", size, sha256)
    write(path, header_of(source=source, kind=kind, started=started), [entry])


def header_of(*, source: str, kind: str, started: datetime) -> dict[str, Any]:
    """Return a header; `started` is when the capture began."""
    return {"source": source, "kind": kind, "started": started.astimezone(UTC).isoformat()}


def header(path: Path) -> dict[str, Any]:
    """Return a manifest's header. Raises `DamageError` when the file is no manifest."""
    try:
        with path.open(encoding="ascii") as file:
            found = json.loads(file.readline())
        if isinstance(found, dict) and found.get("schema") == SCHEMA:
            return found
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    raise _damaged(path)


def read(path: Path) -> Iterator[Entry]:
    """Yield the entries of a manifest. Raises `DamageError` when it cannot be understood."""
    header(path)
    try:
        with path.open(encoding="ascii") as file:
            next(file)
            for line in file:
                yield _entry(json.loads(line))
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> DamageError:
    return DamageError("the manifest cannot be read", path.name, hint="use another point or target")


def _line(entry: Entry) -> str:
    target = None if entry.link_target is None else os.fsdecode(entry.link_target)
    values = (
        os.fsdecode(entry.path), entry.kind, entry.size, entry.sha256, entry.mode, entry.uid, entry.gid,
        entry.mtime_ns, entry.ctime_ns, entry.inode, entry.device, target, entry.state,
    )  # fmt: skip
    return json.dumps(values) + "\n"


def _entry(values: list[Any]) -> Entry:
    path, kind, size, sha256, mode, uid, gid, mtime, ctime, inode, device, target, state = values
    return Entry(
        os.fsencode(path), kind, size, sha256, mode, uid, gid, mtime, ctime, inode, device,
        None if target is None else os.fsencode(target), state,
    )  # fmt: skip
