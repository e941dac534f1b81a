"""Capture: a dump, and facts in the same snapshot.

The dump program begins a transaction of its own; nobody can hand it a snapshot. So that it and the session that
counts see the same, both begin theirs while a global read lock keeps writers out: for the moment it takes the
dump to begin, and no longer. Where the account may not lock, or the lock is not got at once, facts are kept only
where they were equal before and after the dump.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from dr.errors import DrError, SourceError
from dr.plan.source import MysqlSource
from dr.sources import facts, several
from dr.sources.door import Stream
from dr.sources.facts import Facts
from dr.sources.mysql import accounts
from dr.sources.mysql.connection import Server, complaint
from dr.sources.mysql.cut import SEVERAL, cut, cut_one, file_of
from dr.sources.mysql.inventory import Inventory, databases_of
from dr.sources.mysql.session import Session
from dr.sources.own_errors import own_errors
from dr.tools import command

log = logging.getLogger("dr.mysql")

#: Seconds that the lock is waited for: writers wait behind it.
_LOCK_WAIT = 5
#: Seconds that the lock is kept at most while the dump begins.
_LOCK_KEPT = 3.0
#: The program waits, started and reached, until it is told to begin: so the lock is not kept for its start.
_GATE = 'read -r _ && exec "$@"'
_BEGUN = b"-- Current Database: "
_END = b"-- Dump completed"


class Dump:
    """The dump program, started and waiting; `begin` lets it go. A context that ends it."""

    def __init__(self, server: Server, argv: Sequence[str], *, timeout: float) -> None:
        self._where = server.where
        self._process = server.host.start(["sh", "-c", _GATE, "sh", *argv], env=server.env, timeout=timeout, feed=True)
        self._head: list[bytes] = []
        self._begun = threading.Event()
        self._opening = threading.Thread(target=self._open, daemon=True)

    def begin(self) -> None:
        """Let it dump."""
        try:
            self._process.write(b"\n")
            self._process.end_input()
        except OSError:
            log.debug("the dump program has ended before it began")  # `blocks` says why
        self._opening.start()

    def begun(self, *, within: float) -> bool:
        """Wait until its transaction has begun, at most that many seconds; whether it has."""
        return self._begun.wait(within)

    def blocks(self) -> Iterator[bytes]:
        """Yield what it writes. Raises `SourceError` unless it ended well, and with a dump's last line."""
        self._opening.join()
        tail = b""
        with own_errors(self._where):
            for block in chain(self._head, iter(self._process.read, b"")):
                tail = (tail + block)[-len(_END) - 64 :]
                yield block
            done = self._process.finish()
        command.raise_if_stopping()
        if done.code != 0:
            how = f"exit code {done.code}" if done.code > 0 else f"signal {-done.code}"
            raise complaint(f"the dump failed with {how}", self._where, done.stderr.decode("utf-8", "replace"))
        if not tail.rstrip().rpartition(b"\n")[2].startswith(_END):
            raise SourceError("the dump was cut short", self._where, hint="see the disk and the server's log there")

    def close(self) -> None:
        """End it. May be called twice."""
        with self._process:
            self._process.kill()
        if self._opening.ident:
            self._opening.join(timeout=5)

    def _open(self) -> None:
        """Read its opening: what it writes of a database comes after its transaction has begun."""
        try:
            while (block := self._process.read()) and not self._begun.is_set():
                self._head.append(block)
                if _BEGUN in b"".join(self._head):
                    break
        except (OSError, ValueError, DrError):
            log.debug("the dump program was ended while it began")
        self._begun.set()


class Capture(Stream):
    """A dump while it runs, with the facts taken meanwhile in a thread of their own."""

    def __init__(
        self, server: Server, declared: MysqlSource, work: Path, questions: Sequence[tuple[str | None, str]]
    ) -> None:
        self.started = datetime.now(UTC)
        self.lock_seconds = 0.0
        self._server, self._declared, self._work, self._questions = server, declared, work, tuple(questions)
        self._failure: BaseException | None = None
        self._dump: Dump | None = None
        self._session = Session(server, timeout=declared.timeout)
        self._thread = threading.Thread(target=self._gather, daemon=True)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def chunks(self) -> Iterator[bytes]:
        """See `Stream`."""
        assert self._dump is not None  # noqa: S101 - made in __init__
        where = self._server.where
        if self._declared.database:
            yield from cut_one(self._dump.blocks(), self._declared.database, where)
        else:
            yield from several.pack(cut(self._dump.blocks(), self._databases, where))
        self._thread.join()
        if self._failure:
            raise self._failure
        self._conclude()

    def close(self) -> None:
        """See `Stream`."""
        self._session.close()
        if self._dump:
            self._dump.close()
        if self._thread.ident:
            self._thread.join(timeout=10)

    # -- before ------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._databases = self._named()
        one = self._declared.database
        self.filename = file_of(one) if one else SEVERAL
        self._inventory = Inventory(self._session, self._databases)
        self._tables = self._inventory.tables()
        self._needs = self._inventory.needs()
        self.sidecars = (facts.FILENAME, *self._accounts())
        self._warn()
        with own_errors(self._server.where):
            self._dump = Dump(self._server, self._argv(), timeout=self._declared.timeout)
        self._same = self._begin_together(self._dump)
        self._thread.start()

    def _named(self) -> tuple[str, ...]:
        there, named = databases_of(self._session), self._declared.named
        missing = [name for name in named if name not in there]
        if missing or not there:
            what = f"the database {', '.join(missing)} is not" if missing else "there is no database"
            raise SourceError(
                f"{what} on the server, or not to be seen by its account", self._server.where,
                hint="correct the plan's databases, or grant the account SELECT on them",
            )  # fmt: skip
        return named or tuple(there)

    def _accounts(self) -> list[str]:
        definers = [need.removeprefix("account ") for need in self._needs if need.startswith("account ")]
        databases = None if self._declared.all else self._databases
        path = self._work / accounts.FILENAME
        written = accounts.write(self._session, path, databases=databases, definers=definers)
        return [accounts.FILENAME] if written else []

    def _warn(self) -> None:
        unheld = [f"{table.key} ({table.engine})" for table in self._tables if not table.held]
        if unheld:
            log.warning(
                "%s: no snapshot holds these tables still while they are dumped: %s",
                self._server.where, ", ".join(unheld),
            )  # fmt: skip

    def _argv(self) -> list[str]:
        history = ("--dump-history",) if any(table.history for table in self._tables) else ()
        code = ("--routines", "--triggers", "--events")
        return self._server.dump_argv(*code, *history, "--databases", *self._databases)

    # -- the moment ----------------------------------------------------------------------------------------

    def _begin_together(self, dump: Dump) -> bool:
        """Begin the session's snapshot and the dump's; return whether they are surely one and the same."""
        self._session.do("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._session.do(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT}")
        locked = self._lock()
        began = time.monotonic()
        try:
            self._session.do("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            dump.begin()
            begun = locked and dump.begun(within=_LOCK_KEPT)
        finally:
            if locked:
                self._session.do("UNLOCK TABLES")
                self.lock_seconds = time.monotonic() - began
                log.debug("%s: writers waited for %.3f s", self._server.where, self.lock_seconds)
        return begun

    def _lock(self) -> bool:
        try:
            self._session.do("FLUSH TABLES WITH READ LOCK")
        except SourceError as error:
            if error.retryable and "[1205]" not in error.cause:
                raise
            log.info("%s: dumped without a lock, so facts are kept only where nothing changes meanwhile: %s",
                     self._server.where, error.cause)  # fmt: skip
            return False
        return True

    # -- the facts -----------------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Count and ask, in the session's snapshot, while the dump runs."""
        try:
            self._objects = self._inventory.objects()
            self._rows = self._inventory.rows(self._tables, within=True)
            self._answers = self._inventory.answers(self._questions)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that reads
            self._failure = error

    def _conclude(self) -> None:
        """Keep of the facts what surely holds for the dump, and write them."""
        self._session.do("COMMIT")
        objects = self._inventory.objects()
        rows, answers = self._rows, self._answers
        doubtful = [table for table in self._tables if not (self._same and table.held)]
        if doubtful:
            rows = _steady(rows, self._inventory.rows(doubtful), {table.key for table in doubtful})
        if not self._same:
            again = self._inventory.answers(self._questions)
            answers = {key: value for key, value in answers.items() if key in again and again[key] == value}
        if objects != self._objects:
            log.warning("%s: definitions were changed while it was dumped", self._server.where)
        found = Facts(
            server=self._inventory.server,
            databases=self._databases,
            rows=rows,
            objects={key: value for key, value in objects.items() if self._objects.get(key) == value},
            needs=self._needs,
            answers=answers,
        )
        facts.write(self._work / facts.FILENAME, found)


def _steady(first: dict[str, int], second: dict[str, int], doubtful: set[str]) -> dict[str, int]:
    """Return the counts that are certain, and those of the doubtful that were equal twice."""
    return {key: rows for key, rows in first.items() if key not in doubtful or second.get(key) == rows}
