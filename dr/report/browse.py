"""What `dr browse` shows: points, entries and versions, each in one line that fits a narrow terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dr.evidence.file_version import Found, Version
from dr.evidence.record import Drill, Point
from dr.plan.units import counted, format_bytes
from dr.report.files import entry_row

Tone = Literal["good", "plain", "odd", "bad"]


def mark_of(point: Point) -> tuple[str, Tone]:
    """Return what to know of a point before it is relied on, in words, and how it is to be taken."""
    if any(copy.complete for copy in point.copies) and not point.complete:
        doubtful = any(copy.doubtful for copy in point.copies)
        return ("doubtful", "odd") if doubtful else ("lost", "bad") if point.lost else ("damaged", "bad")
    if not point.complete:
        return "incomplete", "bad"
    if point.suspect:
        return "suspect", "odd"
    level = point.proof_level
    return (f"proven to {level}", "good") if level else ("not proven", "plain")


def day_of(point: Point) -> str:
    """The day that a point stands under."""
    return f"{point.consistency_time:%a %Y-%m-%d}"


def time_of(point: Point) -> str:
    """When it was, within its day."""
    return f"{point.consistency_time:%H:%M:%S}"


def moment_of(point: Point) -> str:
    """When it was."""
    return f"{point.consistency_time:%Y-%m-%d %H:%M:%S} UTC"


def entry_label(entry: Found, *, whole: bool) -> str:
    """One entry: its name (the whole path at the top), and of a file its size and time."""
    row = entry_row(entry)
    name = row["path"] if whole else row["path"].rstrip("/").rpartition("/")[2] + ("/" if entry.kind == "dir" else "")
    if entry.kind != "file":
        return name
    time = "" if row["modified"] == "-" else f"  {row['modified'][:16]}"
    return f"{name}  {row['size']}{time}"


def version_label(version: Version, newest: Point) -> str:
    """One version of a name: when it was there, its size, and in how many points."""
    entry = version.entry
    until = "now" if newest.run_id in version.points else f"{version.last_seen:%Y-%m-%d %H:%M}"
    size = format_bytes(entry.size) if entry.kind == "file" else entry.kind
    return f"{version.first_seen:%Y-%m-%d %H:%M} to {until:<16}  {size:>9}  {counted(len(version.points), 'point')}"


def match_label(version: Version) -> str:
    """One file that was found: when it was last there, and its path."""
    return f"{version.last_seen:%Y-%m-%d %H:%M}  {entry_row(version.entry)['path']}"


def chosen_line(selected: Sequence[Found], point: Point) -> str:
    """What would come back."""
    files = [entry for entry in selected if entry.kind == "file"]
    folders = sum(entry.kind == "dir" for entry in selected)
    more = f" and {counted(folders, 'folder')}" if folders else ""
    size = format_bytes(sum(entry.size for entry in files))
    return f"{counted(len(files), 'file')}{more}, {size}, as of {moment_of(point)}"


def came_back_lines(fact: Drill, to: str) -> list[str]:
    """What a recovery came to."""
    lines = [f"recovery {fact.outcome}: {counted(fact.files, 'file')}, {format_bytes(fact.bytes)}, in {to}"]
    lines += [f"each compared with its hash: {check.outcome}" for check in fact.checks if check.check == "manifest"]
    lines += [f"{fact.error}"] if fact.error else []
    lines += [fact.error_hint] if fact.error_hint else []
    return [*lines, f"on record as {fact.drill_id}"]
