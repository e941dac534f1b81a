"""Capture: a dump, and facts in the same snapshot.

The dump program begins a transaction of its own; nobody can hand it a snapshot. So that it and the session that
counts see the same, both begin theirs while a global read lock keeps writers out: for the moment it takes the
dump to begin, and no longer. Where the account may not lock, or the lock is not got at once, facts are kept only
where they were equal before and after the dump.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from dr.errors import DrError, SourceError
from dr.evidence.record import Omission
from dr.plan.source_kinds import MysqlSource
from dr.sources import database_inventory as facts
from dr.sources import several
from dr.sources.driver import Stream
from dr.sources.mysql.capture_plan import Subject
from dr.sources.mysql.connection import Server, complaint, one_line
from dr.sources.mysql.session import Session
from dr.sources.mysql.split_dump import SEVERAL, cut, cut_one, file_of
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
#: What programs say of options that they do not know, and of other things that change nothing.
WARNING = re.compile(r"(\S+: )?\[?warning\b", re.IGNORECASE)


def refused_in(said: str) -> tuple[Omission, ...]:
    """Return what a dump program could not dump and passed over; nothing when another thing went wrong."""
    found: dict[tuple[str, ...], Omission] = {}
    for line in filter(None, map(str.strip, said.splitlines())):
        if WARNING.match(line):
            continue
        error = complaint("", "", line)
        if error.retryable or not error.cause.endswith("]"):
            return ()
        asked = re.search(r"execute '(.*)': ", line)
        statement = f": {one_line(asked[1])}" if asked else ""
        names = tuple(re.findall(r"'([^'\s]+\.[^'\s]+)'", error.cause)) or tuple(re.findall(r"`((?:[^`]|``)+)`", line))
        what = f"the dump program could not dump {' '.join(names) or 'everything'}: {error.cause}{statement}"
        found.setdefault(names or (line,), Omission(what=what, hint=error.hint, names=names))
    return tuple(found.values())


class Dump:
    """The dump program, started and waiting; `begin` lets it go. A context that ends it.

    `refused`: what it could not dump, once `blocks` has ended.
    """

    def __init__(self, server: Server, argv: Sequence[str], *, timeout: float) -> None:
        self._where = server.where
        self.refused: tuple[Omission, ...] = ()
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
            said = done.stderr.decode("utf-8", "replace")
            self.refused = refused_in(said) if done.code > 0 else ()
            if not self.refused:
                raise complaint(f"the dump failed with {how}", self._where, said)
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
            yield from several.pack(cut(self._dump.blocks(), self._subject.databases, where))
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
        one = self._declared.database
        self.filename = file_of(one) if one else SEVERAL
        self._subject = Subject(self._session, self._server, self._declared, self._work)
        self.sidecars = self._subject.sidecars
        with own_errors(self._server.where):
            self._dump = Dump(self._server, self._subject.argv(), timeout=self._declared.timeout)
        self._same = self._begin_together(self._dump)
        self._thread.start()

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
            self._subject.look(self._questions)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that reads
            self._failure = error

    def _conclude(self) -> None:
        """Keep of the facts what surely holds for the dump, and write them."""
        self._session.do("COMMIT")
        facts.write(self._work / facts.FILENAME, self._subject.held(self._questions, same=self._same))
        refused = self._dump.refused if self._dump else ()
        self.omissions = (*self._subject.omissions, *refused)
