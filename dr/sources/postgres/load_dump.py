"""One dump into one database, while it arrives.

`pg_restore` reads the stream and loads tables as they come; no copy of the dump is kept. Its beginning, the
table of contents, is kept aside: from that alone indexes and constraints are made afterwards, several at a time.
Loaded `at_once`, in one transaction that also makes the tables, a server with `wal_level=minimal` writes them
without its log. Measured with 1 GB of pgbench's tables: less work than keeping the dump for `pg_restore -j`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dr.errors import SourceError
from dr.late_dataclass import dataclass
from dr.sources.own_errors import own_errors
from dr.sources.postgres import queries, toc
from dr.sources.postgres.completing import Check, path_lent, rehearsal, set_aside
from dr.sources.postgres.connection import Server
from dr.sources.postgres.load_tables import Names, entries_for, family_of, kept_list, without_rows
from dr.sources.postgres.toc import Refusal
from dr.tools import command
from dr.tools.command import Done
from dr.tools.host import Process

_HEAD = 1 << 20  # bytes that hold the table of contents of most dumps; doubled until they do
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
_LOADING = ("--section=pre-data", "--section=data")
_AFTERWARDS = "--section=post-data"


#: Materialised views, as schema and name.
Views = Collection[tuple[str, str]]


@dataclass
class Poured:
    """What came of a dump: what the server refused, and the checks that wait for the rows to be there.

    `alone`: only the rows of the tables that were named, and of those that they are made of, were loaded.
    """

    refused: list[Refusal] = field(default_factory=list)
    aside: list[Check] = field(default_factory=list)
    alone: bool = False


def pour_dump(
    server: Server,
    database: str,
    blocks: Iterator[bytes],
    *,
    work: Path,
    at_once: bool,
    left_empty: Callable[[], Views] = tuple,
    only: Collection[Names] = (),
    path: str = "",
) -> Poured:
    """Load a dump into an empty database; return what the server refused of it.

    `work` holds the table of contents meanwhile. Tables go where the database goes, whatever tablespace they
    had. Loaded `at_once`, where a rehearsal of its definitions found nothing against it, nothing may be refused before
    the indexes. `left_empty` is asked, once tables and views are there, which of the materialised views are not to be
    refreshed. `only`: of rows those of these tables are enough. `path`: the search path of the database's settings.
    Raises `SourceError` when the dump cannot be read or the server goes away; what `blocks` raises goes on.
    """
    with TemporaryDirectory(prefix="toc-", dir=work) as folder:
        head = Path(folder, "head")
        held = _read_head(server, head, blocks)
        loader, done = _Loader(server, database, head), Poured()
        stream = _again(held, blocks)
        if at_once and not only and server.host.here and loader.rehearse():
            done.refused += loader.load(stream, *_LOADING, "--single-transaction")
            done.refused += _finish(loader, server, database, head, left_empty())
            return done
        done.refused += loader.load(None, "--section=pre-data")
        chosen = _entries(server, database, head, only)
        done.aside = set_aside(server, database)
        wanted = kept_list(server, chosen[0] if chosen else None)
        with wanted as options, path_lent(server, database, path):
            done.refused += loader.load(stream, "--section=data", *options)
        if not chosen:
            done.refused += _finish(loader, server, database, head, left_empty())
            return done
        done.alone = True
        for lines, ignored in ((chosen[0], False), (chosen[1], True)):
            with kept_list(server, lines) as options:
                refused = loader.load(None, _AFTERWARDS, *options) if lines else []
            done.refused += without_rows(server, database, refused) if ignored else refused
    return done


def _entries(
    server: Server, database: str, head: Path, only: Collection[Names]
) -> tuple[list[bytes], list[bytes]] | None:
    """Return the entries that bring some tables alone, and their foreign keys; None where all is to be loaded."""
    family = family_of(server, database, only) if only else None
    return entries_for(_listed(server, head).stdout, family) if family else None


def _finish(loader: _Loader, server: Server, database: str, head: Path, empty: Views) -> list[Refusal]:
    """Make what comes after the rows, several things at a time where programs run here; return what was refused.

    Those that work at once speak at once, and what they say cannot be told apart: when anything was refused, all is
    tried again one by one, and what is there by then was made at first.
    """
    several = ("-j", str(os.cpu_count() or 1)) if server.host.here else ()
    with _chosen(server, head, empty) as chosen:
        refused = loader.load(None, _AFTERWARDS, *several, *chosen)
    if not (several and refused):
        return refused
    filled = [(str(schema), str(name)) for schema, name in server.rows(database, queries.FILLED)]
    there = {(str(kind), str(schema), str(tag)) for kind, schema, tag in server.rows(database, queries.AFTERWARDS)}
    with _chosen(server, head, [*empty, *filled]) as chosen:
        refused = loader.load(None, _AFTERWARDS, *chosen)
    return [each for each in refused if (each.kind, each.schema.strip("-"), each.tag) not in there]


class _Loader:
    """Loads a dump part by part, by pg_restore; without a stream, what its table of contents alone gives."""

    def __init__(self, server: Server, database: str, head: Path) -> None:
        self._server, self._database, self._head = server, database, head

    def rehearse(self) -> bool:
        """Make the definitions and take them back: whether none was refused, and nothing might refuse rows."""
        made = _read_by_itself(self._server, self._head, "--section=pre-data", "-f", "-")
        with self._server.psql(self._database) as process, own_errors(self._server.name):
            with suppress(OSError):  # it has ended: its exit code says that something was refused
                process.write(
                    rehearsal(made.stdout.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
                )
                process.end_input()
            said = b"".join(iter(process.read, b""))
            done = process.finish()
        return made.code == 0 and done.code == 0 and not any(line.startswith(b"[") for line in said.splitlines())

    def load(self, blocks: Iterator[bytes] | None, *options: str) -> list[Refusal]:
        """Run pg_restore; return what was refused."""
        server, here = self._server, self._server.host.here
        # Only when it says all that it does, it says of what entry an error is.
        arguments = ["-w", "-v", "--no-tablespaces", "-d", server.conninfo(self._database), *options]
        if blocks is None and here:
            arguments.append(str(self._head))
        elif blocks is None:
            blocks = iter([self._head.read_bytes()])
        more = server.loading(self._database)
        with server.start("pg_restore", *arguments, feed=blocks is not None, more=more) as process:
            with own_errors(server.name):
                _feed(process, blocks or ())
                done = process.finish()
        return self._refused(done)

    def _refused(self, done: Done) -> list[Refusal]:
        """Return what was refused. `pg_restore` goes on after errors, counts them, and ends with 1."""
        if done.code == 0:
            return []
        count = _IGNORED.search(done.stderr.decode("utf-8", "replace"))
        if not count:
            raise self._server.failure(done, "the dump could not be restored")
        listed = toc.entries(_listed(self._server, self._head).stdout)
        owners = [str(name) for name in self._server.rows(self._database, "select to_json(rolname) from pg_roles")]
        found = toc.refusals(done.stderr, listed, owners)
        if not found:
            return [Refusal(kind="TABLE DATA", cause=f"{count[1]} statements were refused")]
        return [each for each in found if not each.of_session]


def _feed(process: Process, blocks: Iterable[bytes]) -> None:
    for block in blocks:
        command.raise_if_stopping()
        try:
            process.write(block)
        except OSError:
            break  # it has ended: its exit code and words say why
    process.end_input()


@contextmanager
def _chosen(server: Server, head: Path, left_empty: Views) -> Iterator[tuple[str, ...]]:
    """Give the options that leave out the refreshing of these views: a list of all the rest, where programs run."""
    marks = [f" MATERIALIZED VIEW DATA {schema} {name} ".encode() for schema, name in left_empty]
    lines = _listed(server, head).stdout.splitlines() if marks else []
    kept = [line for line in lines if not any(mark in line for mark in marks)]
    with kept_list(server, kept if marks else None) as options:
        yield options


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
    return _read_by_itself(server, head, "-l")


def _read_by_itself(server: Server, head: Path, *options: str) -> Done:
    """Run pg_restore on the table of contents, without a server, and return what it says."""
    here = server.host.here
    with server.start("pg_restore", *options, *([str(head)] if here else []), feed=not here) as process:
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


def raise_refused(name: str, problems: list[str]) -> None:
    """Raise what is not as it was captured, when anything is."""
    if problems:
        raise SourceError(
            "not all of it came back: " + "; ".join(problems), name,
            hint="install or make what is named on the host that restores, then try again",
        )  # fmt: skip
