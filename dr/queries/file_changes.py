"""What changed from one point to another, by what each holds: pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dr.evidence.file_version import Change, Difference, Found
from dr.evidence.manifest import Entry


def compared(source: str, entries: Iterator[Found], *, before: int) -> list[Difference]:
    """Return the differences that versions in only one of two points make; `before` is the number of the older."""
    gone: dict[bytes, Found] = {}
    come: dict[bytes, Found] = {}
    for entry in entries:
        (gone if within(entry, before) else come)[entry.path] = entry
    for path in [path for path, entry in come.items() if path in gone and _alike(gone[path], entry)]:
        del gone[path], come[path]
    was = {entry.sha256: path for path, entry in gone.items() if entry.sha256 and entry.size and path not in come}
    found: list[Difference] = []
    moved: set[bytes] = set()
    for path, entry in come.items():
        old = gone.get(path)
        origin = was.get(entry.sha256) if entry.sha256 and old is None else None
        if old is not None:
            change: Change = "metadata" if content_of(old) == content_of(entry) else "modified"
            found.append(Difference(source, path, change, old.size, entry.size, folder=entry.kind == "dir"))
        elif origin is not None and origin not in moved:
            moved.add(origin)
            found.append(Difference(source, path, "moved", entry.size, entry.size, moved_from=origin))
        else:
            found.append(Difference(source, path, "added", None, entry.size, folder=entry.kind == "dir"))
    removed = (entry for path, entry in gone.items() if path not in come and path not in moved)
    found += [
        Difference(source, entry.path, "removed", entry.size, None, folder=entry.kind == "dir") for entry in removed
    ]
    return sorted(found, key=lambda each: each.path)


def _alike(old: Found, new: Found) -> bool:
    """Whether nothing is to be told: it came back as it was; or of a folder, in which something changed, the time."""
    time = new.mtime_ns if old.kind == new.kind == "dir" else old.mtime_ns
    return replace(old, first=new.first, last=new.last, mtime_ns=time) == new


def found_of(source: str, seq: int, entry: Entry) -> Found:
    """Return an entry of a manifest as one that is there from a point on."""
    return Found(
        source, entry.path, seq, None, entry.kind, entry.size, entry.sha256, entry.mode, entry.uid, entry.gid,
        entry.mtime_ns, entry.link_target, entry.state, entry.attributes,
    )  # fmt: skip


def same(was: Found, now: Entry) -> bool:
    """Whether an entry is as it was, with its rights and times."""
    return replace(was, first=0, last=None) == found_of(was.source, 0, now)


def content_of(entry: Found) -> tuple[object, ...]:
    """Return what makes a version: the kind, and the hash; where nothing was hashed, what can be known of it."""
    if entry.kind == "dir":
        return ("dir",)
    if entry.sha256 is None:
        return entry.kind, entry.size, entry.link, entry.mtime_ns if entry.kind == "file" else 0
    return entry.kind, entry.sha256


def within(entry: Found, seq: int) -> bool:
    """Whether a version was in the point of that number."""
    return entry.first <= seq and (entry.last is None or entry.last >= seq)
