"""Walking a tree as restic does: the same excludes, file systems, links and special files.

The manifest must list exactly what restic stores; a test holds the two side by side.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from dr.evidence.manifest import spelt, unspelt
from dr.late_dataclass import dataclass
from dr.sources.sorted_lines import SortedTexts

Found = tuple[bytes, os.stat_result]
Excluded = Callable[[bytes], bool]
_SLASH = ord("/")  # ends the step into a directory
_ANY, _ONE = r"(?:/[^/]+)*", "/[^/]*"  # `**` and `*`


def excluder(patterns: Sequence[str]) -> Excluded:
    """Return whether a path is excluded, by restic's rules (its `internal/filter`).

    A pattern is matched by path component (`*`, `?`, `[a-z]`, `**` for any number of components); it
    starts anywhere unless it begins with `/`; what is below a match is excluded too; `!` takes back.
    Raises `ValueError` for a pattern that restic would refuse.
    """
    rules = [(raw.startswith("!"), _regex(raw.removeprefix("!"))) for raw in patterns if raw]

    def excluded(path: bytes) -> bool:
        text, verdict = path.decode("utf-8", "surrogateescape"), False
        for negated, matches in rules:
            if verdict == negated and matches(text):
                verdict = not negated
        return verdict

    return excluded if rules else lambda path: False


def literally(path: str) -> str:
    """Return the pattern that matches this path alone."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", path)


def _regex(pattern: str) -> Callable[[str], object]:
    clean = posixpath.normpath(pattern).replace("//", "/")
    if clean == ".":
        return lambda path: False  # no component of a path is called that
    anchored = clean.startswith("/")
    parts = [part for part in clean.split("/") if part]
    pieces = [_ANY if part == "**" else "/" + _component(part) for part in parts]
    if pieces.count(_ANY) > 1:
        return _several_any(pieces, anchored)
    return _compiled(["".join(pieces)], anchored)


def _compiled(texts: Iterable[str], anchored: bool) -> Callable[[str], object]:
    compiled = re.compile(f"(?:{'|'.join(texts)})" + r"(?=/|\Z)")
    return compiled.match if anchored else compiled.search


def _several_any(pieces: Sequence[str], anchored: bool) -> Callable[[str], object]:
    """Match a pattern with several `**`.

    restic replaces one after the other by as many `*` as the path has room for, and counts each `**`
    not yet replaced as one component: so `/a/**/b/**` matches all below a `b`, and not always the `b`.
    """

    @functools.cache
    def of_depth(depth: int) -> Callable[[str], object]:
        texts = {"".join(x) for x in _expanded(tuple(pieces), depth - len(pieces) + (not anchored))}
        return _compiled(texts, anchored) if texts else lambda path: False

    return lambda path: of_depth(path.count("/"))(path)


def _expanded(pieces: tuple[str, ...], spare: int) -> Iterator[tuple[str, ...]]:
    """Yield the pieces with every `**` replaced; `spare`: by how many components the path is longer."""
    if _ANY not in pieces:
        yield pieces
        return
    at = pieces.index(_ANY)
    for count in range(spare + 2):
        yield from _expanded(pieces[:at] + (_ONE,) * count + pieces[at + 1 :], spare + 1 - count)


def _component(part: str) -> str:
    """Translate Go's `filepath.Match` for one component."""
    out, i = "", 0
    while i < len(part):
        char = part[i]
        if char == "[":
            body, i = _class(part, i + 1)
            out += body
            continue
        if char == "\\":
            char, i = _literal(part, i)
            out += re.escape(char)
            continue
        out += {"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char)
        i += 1
    return out


def _class(part: str, i: int) -> tuple[str, int]:
    """Translate `[…]` from after its bracket on; return it and the place behind it."""
    negated = part[i : i + 1] == "^"
    i += negated
    ranges: list[str] = []
    empty = True
    while empty or part[i : i + 1] != "]":
        low, i = _bound(part, i)
        high = low
        if part[i : i + 1] == "-":
            high, i = _bound(part, i + 1)
        empty = False
        if low <= high:  # to Go a range the wrong way round matches nothing
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    body = "".join(ranges)
    if negated:
        return f"[^/{body}]", i + 1
    return (f"[{body}]" if body else r"(?!)"), i + 1


def _bound(part: str, i: int) -> tuple[str, int]:
    if part[i : i + 1] in ("", "-", "]"):
        raise ValueError(part)
    return _literal(part, i)


def _literal(part: str, i: int) -> tuple[str, int]:
    """Return the character at `i`, or behind the backslash there, and the place behind it."""
    i += part[i] == "\\"
    if i >= len(part):
        raise ValueError(part)
    return part[i], i + 1


def _nobody(path: bytes) -> None:
    """Nobody asked to be told."""


@dataclass(frozen=True)
class _Told:
    """What is told of on the way; files that may be made, none of them twice."""

    unreadable: Callable[[bytes], None]
    elsewhere: Callable[[bytes], None]
    aside: Iterator[Path]


def walk(
    roots: Sequence[bytes],
    *,
    excluded: Excluded,
    one_filesystem: bool,
    unreadable: Callable[[bytes], None],
    elsewhere: Callable[[bytes], None] = _nobody,
    aside: Path,
) -> Iterator[Found]:
    """Yield every path at and below the roots once, with its `lstat`, in the order of a manifest's lines.

    Parents come first; links are not followed. What cannot be looked at is handed to `unreadable`, a directory that
    cannot be listed just before it is yielded; what vanished is left out. With `one_filesystem`, where another file
    system begins is handed to `elsewhere`: directories are yielded too, empty. The names in a large directory are put
    in order in files in the directory `aside`, which are gone in the end.
    """
    told = _Told(unreadable, elsewhere, (aside / f".names-{number}" for number in itertools.count()))
    each = [_from(root, excluded, one_filesystem, told) for root in dict.fromkeys(roots)]
    before = None
    for found in heapq.merge(*each, key=lambda found: spelt(found[0])) if len(each) > 1 else each[0] if each else ():
        if found[0] != before:  # what lies below two of them
            yield found
        before = found[0]


def _from(root: bytes, excluded: Excluded, one_filesystem: bool, told: _Told) -> Iterator[Found]:
    try:
        status = os.lstat(root)
    except OSError:
        return
    if excluded(root):
        return
    if not stat.S_ISDIR(status.st_mode):
        yield root, status
        return
    steps = _steps(root, told)
    yield root, status
    yield from _below(root, steps, excluded, status.st_dev if one_filesystem else None, told)


def _below(root: bytes, steps: Iterator[bytes], excluded: Excluded, device: int | None, told: _Told) -> Iterator[Found]:
    """Yield what a folder holds, and all below."""
    stack, listed = [(root.rstrip(b"/") + b"/", steps)], dict[bytes, Iterator[bytes]]()
    while stack:
        above, steps = stack[-1]
        step = next(steps, None)
        if step is None:
            stack.pop()
            continue
        name = step[1:-2]
        path = above + (unspelt(step[:-1]) if b"\\" in name else name)
        if step[-2] == _SLASH:
            if path in listed:
                stack.append((path + b"/", listed.pop(path)))
            continue
        if excluded(path):
            continue
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue
        except OSError:
            told.unreadable(path)
            continue
        elsewhere = device is not None and status.st_dev != device
        if elsewhere:
            told.elsewhere(path)
        if stat.S_ISDIR(status.st_mode):
            if not elsewhere:
                listed[path] = _steps(path, told)
            yield path, status
        elif not elsewhere:  # a file may be a mount too
            yield path, status


def _steps(folder: bytes, told: _Told) -> Iterator[bytes]:
    """Return what is to be done for a folder, in order: tell of each name, and go into each directory.

    The line of a directory ends where those of what is below go on with a slash: `a.txt` comes between `a` and `a/b`.
    """
    steps = SortedTexts(next(told.aside))
    try:
        with os.scandir(folder) as entries:
            steps.fill(_of_each(entries))
    except (FileNotFoundError, NotADirectoryError):
        steps.remove()
    except OSError:
        steps.remove()
        told.unreadable(folder)
    return steps.drained()


def _of_each(entries: Iterable[os.DirEntry[bytes]]) -> Iterator[bytes]:
    for entry in entries:
        name = spelt(entry.name).encode("ascii")
        yield name + b"\n"
        if _is_folder(entry):
            yield name[:-1] + b"/\n"


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
