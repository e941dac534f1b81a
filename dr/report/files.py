"""Files of points as documents and rows: what a point holds, the versions of a name, what changed."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from dr.evidence.file_version import Change, Difference, Found, InPlace, Version
from dr.evidence.record import Point
from dr.evidence.seal import encode
from dr.plan.units import counted, format_bytes
from dr.report.phrases import writable

_SIGNS: dict[Change, str] = {"added": "+", "removed": "-", "modified": "M", "metadata": "m", "moved": ">"}


def entry_document(entry: Found) -> dict[str, Any]:
    """One entry of `dr ls`. `modified`, `mode` and `owner` are null where nobody can know them, as of a dump."""
    known = _known(entry)
    return {
        "source": entry.source,
        "path": _exact(entry.path),
        "kind": entry.kind,
        "bytes": entry.size if entry.kind == "file" else None,
        "modified": encode(_modified(entry)) if known else None,
        "mode": f"{stat.S_IMODE(entry.mode):04o}" if known else None,
        "owner": f"{entry.uid}:{entry.gid}" if known else None,
        "acl": entry.attributes is not None,
        "sha256": entry.sha256,
        "link_target": None if entry.link is None else _exact(entry.link),
    }


def entry_row(entry: Found) -> dict[str, str]:
    """One row of `dr ls`."""
    known = _known(entry)
    name = shown(entry.path) + ("/" if entry.kind == "dir" else "")
    return {
        "mode": (stat.filemode(entry.mode) if entry.mode else "-") + ("" if entry.attributes is None else "+"),
        "owner": f"{entry.uid}:{entry.gid}" if known else "-",
        "size": format_bytes(entry.size) if entry.kind == "file" else "-",
        "modified": f"{_modified(entry):%Y-%m-%d %H:%M:%S}Z" if known else "-",
        "sha256": (entry.sha256 or "-")[:12],
        "path": name if entry.link is None else f"{name} -> {shown(entry.link)}",
    }


def version_document(version: Version) -> dict[str, Any]:
    """One match of `dr find`."""
    entry = version.entry
    return {
        "source": entry.source,
        "path": _exact(entry.path),
        "kind": entry.kind,
        "sha256": entry.sha256,
        "bytes": entry.size if entry.kind == "file" else None,
        "modified": entry_document(entry)["modified"],
        "first_seen": encode(version.first_seen),
        "last_seen": encode(version.last_seen),
        "points": list(version.points),
    }


def version_row(version: Version) -> dict[str, str]:
    """One row of `dr find`."""
    row, count = entry_row(version.entry), len(version.points)
    return {
        "path": row["path"],
        "size": row["size"],
        "modified": row["modified"],
        "from": f"{version.first_seen:%Y-%m-%d %H:%M}Z",
        "to": f"{version.last_seen:%Y-%m-%d %H:%M}Z",
        "points": f"{count:,}",
        "newest point": version.points[0],
    }


def difference_document(each: Difference) -> dict[str, Any]:
    """One change of `dr diff`."""
    return {
        "source": each.source,
        "path": _exact(each.path),
        "change": each.change,
        "bytes_before": each.bytes_before,
        "bytes_after": each.bytes_after,
        "moved_from": None if each.moved_from is None else _exact(each.moved_from),
    }


def difference_line(each: Difference) -> str:
    """One line of `dr diff`: a sign, the size, the path."""
    size = each.bytes_after if each.bytes_after is not None else each.bytes_before
    name = shown(each.path) + ("/" if each.folder else "")
    moved = f" (was {shown(each.moved_from)})" if each.moved_from is not None else ""
    told = "-" if each.folder else format_bytes(size or 0)
    return f"{_SIGNS[each.change]} {told:>9}  {name}{moved}"


def summary_of(changes: Sequence[Difference]) -> list[dict[str, Any]]:
    """Return how many changes of each kind there are in each folder, the folder with the most of them first."""
    folders: dict[str, Counter[Change]] = {}
    for each in changes:
        folders.setdefault(str(PurePosixPath(shown(each.path)).parent), Counter())[each.change] += 1
    ordered = sorted(folders.items(), key=lambda item: (-item[1].total(), item[0]))
    return [{"folder": folder, **{name: counts[name] for name in _SIGNS}} for folder, counts in ordered]


def summary_line(changes: Sequence[Difference]) -> str:
    """Return all changes in one line."""
    counts = Counter(each.change for each in changes)
    words: dict[Change, str] = {"metadata": "with other owner, mode, times or ACL alone"}
    told = [f"{counts[name]:,} {words.get(name, name)}" for name in _SIGNS if counts[name]]
    return f"{counted(len(changes), 'change')}: {', '.join(told)}" if told else "nothing changed"


def _known(entry: Found) -> bool:
    """Whether anybody can know its owner, mode and time: of a dump nobody can."""
    return entry.mtime_ns != 0 or entry.mode != 0


def _modified(entry: Found) -> datetime:
    return datetime.fromtimestamp(entry.mtime_ns // 1_000_000_000, UTC)


def shown(path: bytes) -> str:
    """Return a path that can be printed: bytes that are no text, and control characters, are replaced."""
    return writable(os.fsdecode(path)).replace("\n", "\ufffd")


def _exact(path: bytes) -> str:
    """Return a path for a document, which can hold control characters; each byte that is no text is `?`."""
    return os.fsdecode(path).encode("utf-8", "replace").decode("utf-8")


def ends_document(before: Point, after: Point | None) -> dict[str, str | None]:
    """Between what `dr diff` looked: two points, or one and what lies there now."""
    return {"from": before.run_id, "to": after.run_id if after else None}


def in_place_document(told: InPlace) -> dict[str, Any]:
    """What putting files back in place would do: names by what lies there now, and how many are the same."""
    return {
        "overwritten": [_named(each) for each in told.overwritten],
        "absent": [_named(each) for each in told.absent],
        "rights": [_named(each) for each in told.rights],
        "blocked": [{**_named(each), "reason": why} for each, why in told.blocked],
        "same": told.counts["same"],
        "bytes": told.bytes,
    }


def _named(entry: Found) -> dict[str, Any]:
    return {"source": entry.source, "path": _exact(entry.path)}
