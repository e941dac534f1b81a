"""What is captured of a server: its databases and accounts, how they are dumped, and what they held meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from dr.errors import SourceError
from dr.plan.source import MysqlSource
from dr.sources import facts
from dr.sources.facts import Facts
from dr.sources.mysql import accounts
from dr.sources.mysql.connection import Server
from dr.sources.mysql.inventory import Inventory, databases_of
from dr.sources.mysql.session import Session

log = logging.getLogger("dr.mysql")

Questions = Sequence[tuple[str | None, str]]


class Subject:
    """The databases of a capture. Accounts are written to `work` at once: `sidecars` names what lies there.

    Raises `SourceError` when a declared database is not there.
    """

    def __init__(self, session: Session, server: Server, declared: MysqlSource, work: Path) -> None:
        self._session, self._server, self._declared, self._work = session, server, declared, work
        self.databases = self._named()
        self._inventory = Inventory(session, self.databases)
        self._tables = self._inventory.tables()
        self._needs = self._inventory.needs()
        self.sidecars = (facts.FILENAME, *self._accounts())
        self._warn()

    def argv(self) -> list[str]:
        """The command line of the dump."""
        history = ("--dump-history",) if any(table.history for table in self._tables) else ()
        code = ("--routines", "--triggers", "--events")
        return self._server.dump_argv(*code, *history, "--databases", *self.databases)

    def look(self, questions: Questions) -> None:
        """Count and ask, as the session sees it now."""
        self._objects = self._inventory.objects()
        self._rows = self._inventory.rows(self._tables, within=True)
        self._answers = self._inventory.answers(questions)

    def held(self, questions: Questions, *, same: bool) -> Facts:
        """Return of what was seen what surely holds for the dump, after it; `same`: both saw one snapshot."""
        objects = self._inventory.objects()
        rows, answers = self._rows, self._answers
        doubtful = [table for table in self._tables if not (same and table.held)]
        if doubtful:
            rows = _steady(rows, self._inventory.rows(doubtful), {table.key for table in doubtful})
        if not same:
            again = self._inventory.answers(questions)
            answers = {key: value for key, value in answers.items() if key in again and again[key] == value}
        if objects != self._objects:
            log.warning("%s: definitions were changed while it was dumped", self._server.where)
        return Facts(
            server=self._inventory.server,
            databases=self.databases,
            rows=rows,
            objects={key: value for key, value in objects.items() if self._objects.get(key) == value},
            needs=self._needs,
            answers=answers,
        )

    def unsure(self) -> Facts:
        """Return what needs no second look."""
        return Facts(server=self._inventory.server, databases=self.databases, needs=self._needs)

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
        databases = None if self._declared.all else self.databases
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


def _steady(first: dict[str, int], second: dict[str, int], doubtful: set[str]) -> dict[str, int]:
    """Return the counts that are certain, and those of the doubtful that were equal twice."""
    return {key: rows for key, rows in first.items() if key not in doubtful or second.get(key) == rows}
