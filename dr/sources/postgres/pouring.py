"""One dump into one database, while it arrives.

`pg_restore` reads the stream and loads tables as they come; no copy of the dump is kept. Its beginning, the
table of contents, is kept aside: from that alone indexes and constraints are made afterwards, several at a time.
Loaded `at_once`, in one transaction that also makes the tables, a server with `wal_level=minimal` writes them
without its log. Measured with 1 GB of pgbench's tables: less work than keeping the dump for `pg_restore -j`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dr.errors import SourceError
from dr.sources.own_errors import own_errors
from dr.sources.postgres.connection import Server, told
from dr.tools import command
from dr.tools.command import Done
from dr.tools.host import script

_HEAD = 1 << 20  # bytes that hold the table of contents of most dumps; doubled until they do
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
_OF_THE_SERVER = re.compile(r".*?\b(?:ERROR|FATAL|PANIC):\s+")
_LOADING = ("--section=pre-data", "--section=data")
_FINISHING = ("--section=post-data",)
_KEEP_LIST = 'umask 077; f=$(mktemp) && cat >"$f" && echo "$f";'


#: Materialised views, as schema and name.
Views = Collection[tuple[str, str]]


def pour_dump(
    server: Server,
    database: str,
    blocks: Iterator[bytes],
    *,
    work: Path,
    at_once: bool,
    left_empty: Callable[[], Views] = tuple,
) -> list[str]:
    """Load a dump into an empty database; return what the server refused of it, one line each.

    `work` holds the table of contents meanwhile. Tables go where the database goes, whatever tablespace they
    had. Loaded `at_once`, nothing may be refused before the indexes. `left_empty` is asked, once tables and views are
    there, which of the materialised views are not to be refreshed. Raises `SourceError` when the dump cannot be
    read or the server goes away; what `blocks` raises goes on.
    """
    here = server.host.here
    with TemporaryDirectory(prefix="toc-", dir=work) as folder:
        head = Path(folder, "head")
        held = _read_head(server, head, blocks)
        loading = (*_LOADING, "--single-transaction") if at_once and here else _LOADING
        refused = _restore(server, database, _again(held, blocks), loading)
        with _chosen(server, head, left_empty()) as chosen:
            if here:
                jobs = ("-j", str(os.cpu_count() or 1))
                return refused + _restore(server, database, None, (*_FINISHING, *jobs, *chosen, str(head)))
            return refused + _restore(server, database, iter([head.read_bytes()]), (*_FINISHING, *chosen))


@contextmanager
def _chosen(server: Server, head: Path, left_empty: Views) -> Iterator[tuple[str, ...]]:
    """Give the options that leave out the refreshing of these views: a list of all the rest, where programs run."""
    if not left_empty:
        yield ()
        return
    marks = [f" MATERIALIZED VIEW DATA {schema} {name} ".encode() for schema, name in left_empty]
    lines = [line for line in _listed(server, head).stdout.splitlines() if not any(mark in line for mark in marks)]
    made = server.host.run(script(_KEEP_LIST), stdin=b"\n".join([*lines, b""]))
    place = made.stdout.decode("utf-8", "surrogateescape").strip()
    if made.code != 0 or not place:
        raise SourceError("the dump's list cannot be kept", server.name, made.last_words, hint="see that host's disk")
    try:
        yield ("-L", place)
    finally:
        server.host.run(["rm", "-f", "--", place], regardless=True)


def _read_head(server: Server, head: Path, blocks: Iterator[bytes]) -> list[bytes]:
    """Keep the stream's beginning, up to the end of the table of contents at least; return its blocks."""
    held: list[bytes] = []
    size, enough = 0, _HEAD
    with head.open("wb") as file:
        for block in blocks:
            held.append(block)
            file.write(block)
            size += len(block)
            if size < enough:
                continue
            file.flush()
            if _listed(server, head).code == 0:
                return held
            enough = 2 * size
    done = _listed(server, head)
    if done.code != 0:
        raise server.failure(done, "the dump cannot be read")
    return held


def _listed(server: Server, head: Path) -> Done:
    """Read the table of contents and nothing else."""
    here = server.host.here
    with server.start("pg_restore", "-l", *([str(head)] if here else []), feed=not here) as process:
        with own_errors(server.name), suppress(OSError):
            if not here:
                process.write(head.read_bytes())
                process.end_input()
        with own_errors(server.name):
            said = b"".join(iter(process.read, b""))
            return replace(process.finish(), stdout=said)


def _again(held: list[bytes], blocks: Iterator[bytes]) -> Iterator[bytes]:
    while held:
        yield held.pop(0)
    yield from blocks


def _restore(server: Server, database: str, blocks: Iterator[bytes] | None, options: tuple[str, ...]) -> list[str]:
    arguments = ("-w", "--no-tablespaces", "-d", server.conninfo(database), *options)
    more = server.loading(database)
    with server.start("pg_restore", *arguments, feed=blocks is not None, more=more) as process, own_errors(server.name):
        for block in blocks or ():
            command.raise_if_stopping()
            try:
                process.write(block)
            except OSError:
                break  # it has ended: its exit code and words say why
        process.end_input()
        done = process.finish()
    return _refused(server, done)


def _refused(server: Server, done: Done) -> list[str]:
    """Return what was refused. `pg_restore` goes on after errors, counts them, and ends with 1."""
    if done.code == 0:
        return []
    count = _IGNORED.search(done.stderr.decode("utf-8", "replace"))
    if not count:
        raise server.failure(done, "the dump could not be restored")
    lines = [_OF_THE_SERVER.sub("", line) for line in told(done.stderr)]
    return lines or [f"{count[1]} statements"]


def in_words(refused: list[str]) -> str:
    """Return what was refused, in one sentence."""
    many = f"{len(refused)} statements were" if len(refused) > 1 else "a statement was"
    return f"{many} refused in the restore, first: {refused[0]}"


def raise_refused(name: str, problems: list[str]) -> None:
    """Raise what is not as it was captured, when anything is."""
    if problems:
        raise SourceError(
            "not all of it came back: " + "; ".join(problems), name,
            hint="install or make what is named on the host that restores, then try again",
        )  # fmt: skip
