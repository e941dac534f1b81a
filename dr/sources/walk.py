"""Walking a tree as restic does: the same excludes, file systems, links and special files.

The manifest must list exactly what restic stores; a test holds the two side by side.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence

Found = tuple[bytes, os.stat_result | None]  # None: there, but its directory entry could not be read
Excluded = Callable[[bytes], bool]


def excluder(patterns: Sequence[str]) -> Excluded:
    """Return whether a path is excluded, by restic's rules (its `internal/filter`).

    A pattern is matched by path component (`*`, `?`, `[a-z]`, `**` for any number of components); it
    starts anywhere unless it begins with `/`; what is below a match is excluded too; `!` takes back.
    """
    rules = [(raw.startswith("!"), _regex(raw.removeprefix("!"))) for raw in patterns if raw.strip()]

    def excluded(path: bytes) -> bool:
        verdict = False
        for negated, matches in rules:
            if verdict == negated and matches(path):
                verdict = not negated
        return verdict

    return excluded if rules else lambda path: False


def _regex(pattern: str) -> Callable[[bytes], object]:
    anchored = pattern.startswith("/")
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    text = "".join(r"(?:/[^/]+)*" if part == "**" else "/" + _component(part) for part in parts)
    compiled = re.compile(os.fsencode(text) + rb"(?=/|\Z)", re.DOTALL)
    return compiled.match if anchored else compiled.search


def _component(part: str) -> str:
    """Translate Go's `filepath.Match` for one component."""
    out, i = "", 0
    while i < len(part):
        char = part[i]
        i += 1
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "\\" and i < len(part):
            out += re.escape(part[i])
            i += 1
        elif char == "[" and (end := part.find("]", i + 1)) > 0:
            body = part[i:end].replace("\\", "\\\\") if "\\" not in part[i:end] else part[i:end]
            out += f"[{body}]"
            i = end + 1
        else:
            out += re.escape(char)
    return out


def walk(
    roots: Sequence[bytes], *, excluded: Excluded, one_filesystem: bool, unreadable: Callable[[bytes], None]
) -> Iterator[Found]:
    """Yield every path below the roots with its `lstat`, parents first; links are not followed.

    A directory that cannot be listed is yielded, and handed to `unreadable`; what vanished is left out.
    """
    for root in roots:
        if excluded(root):
            continue
        try:
            status = os.lstat(root)
        except OSError:
            continue
        yield root, status
        if stat.S_ISDIR(status.st_mode):
            device = status.st_dev if one_filesystem else None
            yield from _below(root, excluded, device, unreadable)


def _below(top: bytes, excluded: Excluded, device: int | None, unreadable: Callable[[bytes], None]) -> Iterator[Found]:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        for path in _names(folder, unreadable):
            if excluded(path):
                continue
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            except OSError:
                unreadable(path)
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode) and (device is None or status.st_dev == device):
                waiting.append(path)


def _names(folder: bytes, unreadable: Callable[[bytes], None]) -> list[bytes]:
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        unreadable(folder)
        return []
