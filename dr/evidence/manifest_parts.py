"""A manifest in parts, as repositories store one of many entries: what many runs share, and what each run changed.

Of a long list in which a few lines differ a repository would store almost every block again. In parts, all but the last
is stored already. They lie in a folder of the manifest's name:

- `base`: a whole manifest, of an earlier run or of this;
- `delta-1` to `delta-N`: what each run after it changed, in the byte order of the lines: the lines of entries that came
  or became others, and of those that went the path alone, `["/path"]`;
- `head`: three lines, which are the count of the deltas (`{"schema": 2, "deltas": N}`), and the first and the last line
  of the whole manifest.

The whole is the first line, then of each path the line that the last part has of it, in the byte order of the lines,
then the last line. That holds the number of entries and the SHA-256 of all before itself: of the whole list, as if it
had been stored whole. So a part that is missing, altered, or of another run never makes a list that is taken for whole.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from dr.errors import DamageError
from dr.evidence import manifest
from dr.evidence.manifest import key_of
from dr.evidence.manifest_changes import differing

SCHEMA = 2
BASE, HEAD = "base", "head"
_BATCH = 1000
_TAR = 512  # bytes before which a tar says that it is one


def delta(number: int) -> str:
    """Return the name of a delta; the first is 1."""
    return f"delta-{number}"


def changes(old: Path, new: Path) -> Iterator[bytes]:
    """Yield the lines that make the entries of one manifest those of another.

    Raises `DamageError` when one cannot be read.
    """
    return (now or key_of(was) + b"]\n" for was, now in differing(old, new))


def write_head(folder: Path, deltas: int, whole: Path) -> None:
    """Write the part that says how the others make the manifest `whole`."""
    first, last = manifest.ends(whole)
    counted = json.dumps({"schema": SCHEMA, "deltas": deltas}).encode() + b"\n"
    beside = folder / f".{HEAD}.new"
    beside.write_bytes(counted + first + last)
    beside.replace(folder / HEAD)


def read_head(folder: Path) -> tuple[int, bytes, bytes]:
    """Return the number of deltas, and the first and the last line of the whole. Raises `DamageError`."""
    try:
        counted, first, last = (folder / HEAD).read_bytes().splitlines(keepends=True)
        found = json.loads(counted)
        if found["schema"] != SCHEMA or not isinstance(found["deltas"], int):
            raise ValueError("it is of a newer release")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise manifest.damaged(folder, error) from error
    return found["deltas"], first, last


def join(folder: Path, to: Path) -> None:
    """Put parts together into one file, which is the manifest as it was captured, byte for byte.

    Raises `DamageError` where they do not make the list that `head` names; nothing is written then.
    """
    beside = to.with_name(f".{to.name}.joined")
    try:
        with beside.open("wb") as file:
            _join(folder, file.write)
    except DamageError:
        beside.unlink(missing_ok=True)
        raise
    beside.replace(to)


def make_a_whole(folder: Path) -> bool:
    """Whether parts make the list that their `head` names: all are read, and nothing is written."""
    try:
        _join(folder, len)
    except DamageError:
        return False
    return True


def _join(folder: Path, write: Callable[[bytes], int]) -> None:
    """Write the whole, block by block. Raises `DamageError` at its end where it is not what `head` says."""
    count, first, last = read_head(folder)
    digest, entries = hashlib.sha256(first), 0
    write(first)
    try:
        with ExitStack() as opened:
            deltas = [opened.enter_context((folder / delta(n)).open("rb")) for n in range(1, count + 1)]
            whole = _applied(manifest.lines(folder / BASE), _last_said(deltas))
            while batch := list(islice(whole, _BATCH)):
                block = b"".join(batch)
                digest.update(block)
                write(block)
                entries += len(batch)
        if last != manifest.end_of(entries, digest.hexdigest()):
            raise ValueError("it was altered")
    except (FileNotFoundError, ValueError, DamageError) as error:
        raise manifest.damaged(folder, error) from error
    write(last)


def _last_said(deltas: Iterable[Iterable[bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield of each path, in order, the line that the last of the deltas has of it, with its key."""
    before = b""
    for key, _, line in heapq.merge(*(_said(number, lines) for number, lines in enumerate(deltas))):
        if key != before:
            yield key, line
        before = key


def _said(number: int, lines: Iterable[bytes]) -> Iterator[tuple[bytes, int, bytes]]:
    return ((key_of(line), -number, line) for line in lines)


def _applied(base: Iterator[bytes], changed: Iterator[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Yield the lines of a base as the changes leave them."""
    nothing = (b"", b"")
    key, line = next(changed, nothing)
    for old in base:
        if not key:
            yield old
            continue
        own = key_of(old)
        while key and key < own:
            yield from _entries(line)
            key, line = next(changed, nothing)
        if key == own:
            yield from _entries(line)
            key, line = next(changed, nothing)
        else:
            yield old
    while key:
        yield from _entries(line)
        key, line = next(changed, nothing)


def _entries(line: bytes) -> tuple[bytes, ...]:
    """Return the line of an entry; nothing of the path of one that went."""
    return (line,) if b'", "' in line else ()


def assemble(path: Path) -> None:
    """Where a manifest lies in parts at `path`, put the whole in their place; one that is whole stays as it is.

    Raises `DamageError` where they do not make a whole; they stay then.
    """
    if path.is_dir():
        whole = path.with_name(f".{path.name}.whole")
        join(path, whole)
        shutil.rmtree(path)
        whole.replace(path)


def take(chunks: Iterable[bytes], to: Path) -> None:
    """Write a manifest that comes as one stream: the file, or of one in parts a tar of their folder.

    Raises `DamageError` where its parts do not make a whole.
    """
    with to.open("wb") as file:
        file.writelines(chunks)
    with to.open("rb") as file:
        is_whole = file.read(_TAR).startswith(b"{")
    if is_whole:
        return
    folder = to.with_name(f".{to.name}.parts")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _unpack(to, folder)
        to.unlink()
        join(folder, to)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(packed: Path, folder: Path) -> None:
    """Lay the files of a tar flat into a folder: a part has no folders below it."""
    folder.mkdir(mode=0o700)
    try:
        with tarfile.open(packed) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content:
                    with (folder / Path(member.name).name).open("wb") as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, OSError) as error:
        raise manifest.damaged(packed, ValueError("it is not a manifest")) from error
