"""What is captured of a server: its databases and accounts, how they are dumped, and what they held meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from dr.errors import SourceError
from dr.evidence.record import Omission
from dr.plan.source_kinds import MysqlSource
from dr.sources import database_inventory as facts
from dr.sources.database_inventory import ACCOUNTS, DatabaseInventory
from dr.sources.kept import is_kept
from dr.sources.mysql import accounts, lacking, rights
from dr.sources.mysql.connection import QUERY_SECONDS, Server
from dr.sources.mysql.inventory import ENCRYPTION, Inventory, Table, databases_of, definers_of
from dr.sources.mysql.session import Session
from dr.sources.mysql.spelling import SPELLING

log = logging.getLogger("dr.mysql")

Questions = Sequence[tuple[str | None, str]]


class Subject:
    """The databases of a capture. Accounts are written to `work` at once: `sidecars` names what lies there.

    `omissions` is what is not taken, cannot be seen, or lacks at the source; more may be told by `held`. Raises
    `SourceError` when a declared database is not there.
    """

    def __init__(self, session: Session, server: Server, declared: MysqlSource, work: Path) -> None:
        self._session, self._server, self._declared, self._work = session, server, declared, work
        self.databases = named(session, declared, server.where)
        self._inventory = Inventory(session, self.databases)
        self._tables = self._inventory.tables()
        self._broken = lacking.broken_views(session, self.databases)
        self._gone = lacking.gone_owners(session, self.databases)
        self._needs = tuple(n for n in self._inventory.needs() if n not in {f"account {a}" for a in self._gone})
        self._encrypted = lacking.encrypted(session, self.databases)
        self._needs += (ENCRYPTION,) if self._encrypted else ()
        self.sidecars = (facts.FILENAME, *self._accounts(), *self._broken_views())
        self.omissions = _omissions(session, declared, self.databases, self._tables, self._broken, self._gone)
        if accounts.FILENAME not in self.sidecars and not self._without_accounts:
            self.omissions.append(_unseen_accounts(session, declared, self.databases, self._gone))
        self._warn()

    def argv(self) -> list[str]:
        """The command line of the dump, which goes on behind what it cannot dump and says what that is."""
        history = ("--dump-history",) if any(table.history for table in self._tables) else ()
        code = ("--routines", "--triggers", "--events", "--force")
        without = [f"--ignore-table={view.full}" for view in self._broken]
        return self._server.dump_argv(*code, *history, *without, "--databases", "--", *self.databases)

    def look(self, questions: Questions) -> None:
        """Count and ask, as the session sees it now."""
        self._objects = self._inventory.objects()
        self._rows = self._inventory.rows(self._tables, within=True)
        self._answers = self._inventory.answers(questions)

    def held(self, questions: Questions, *, same: bool) -> DatabaseInventory:
        """Return of what was seen what surely holds for the dump, after it; `same`: both saw one snapshot."""
        objects = self._inventory.objects()
        rows, answers = self._rows, self._answers
        doubtful = [table for table in self._tables if not (same and table.held) and not table.elsewhere]
        if doubtful:
            rows = _steady(rows, self._inventory.rows(doubtful), {table.key for table in doubtful})
        self._tell_unsteady({table.key for table in doubtful if not table.held} & (self._rows.keys() - rows.keys()))
        if not same:
            again = self._inventory.answers(questions)
            answers = {key: value for key, value in answers.items() if key in again and again[key] == value}
        self._tell_changed({key for key, _ in objects.items() ^ self._objects.items()})
        broken = {f"{word} {view.full}" for view in self._broken for word in ("view", "columns of")}
        return DatabaseInventory(
            server=self._inventory.server,
            databases=self.databases,
            rows=rows,
            objects={k: value for k, value in objects.items() if self._objects.get(k) == value and k not in broken},
            needs=self._needs,
            answers=answers,
            lacking=self._lacking,
            spelling=SPELLING,
            sizes=self._inventory.sizes(),
        )

    def unsure(self) -> DatabaseInventory:
        """Return what needs no second look."""
        return DatabaseInventory(
            server=self._inventory.server, databases=self.databases, needs=self._needs, lacking=self._lacking,
            sizes=self._inventory.sizes(),
        )  # fmt: skip

    @property
    def _lacking(self) -> tuple[str, ...]:
        views, gone = [f"view {view.full}" for view in self._broken], [f"account {account}" for account in self._gone]
        return (*views, *gone, *([ACCOUNTS] if self._without_accounts else []))

    @property
    def _without_accounts(self) -> bool:
        return any(each.names == (ACCOUNTS,) for each in self.omissions)

    def _broken_views(self) -> list[str]:
        if not self._broken:
            return []
        lacking.keep(self._work / lacking.FILENAME, self._broken)
        return [lacking.FILENAME]

    def _warn(self) -> None:
        if unheld := [f"{table.key} ({table.engine})" for table in self._tables if not table.held]:
            log.warning(
                "%s: no snapshot holds these tables still while they are dumped: %s",
                self._server.where, ", ".join(unheld),
            )  # fmt: skip
        if self._encrypted:
            log.warning(
                "%s: these tables are encrypted on the server: one that they are restored to needs the same plugin: %s",
                self._server.where, ", ".join(self._encrypted),
            )  # fmt: skip

    def _tell_unsteady(self, changed: set[str]) -> None:
        if changed:
            names = tuple(sorted(changed))
            self.omissions.append(
                Omission(
                    what=f"rows changed while they were dumped, and no snapshot holds these tables: {', '.join(names)}",
                    hint=f"ALTER TABLE … ENGINE=InnoDB for {', '.join(names)}, or back up when nobody writes",
                    names=names,
                    partial=False,
                )
            )

    def _tell_changed(self, keys: set[str]) -> None:
        if keys:
            names = tuple(sorted(keys))
            self.omissions.append(
                Omission(
                    what=f"definitions were changed while they were dumped: {', '.join(names[:5])}",
                    hint="back up again when nobody changes definitions",
                    names=names,
                    partial=False,
                )
            )

    def _accounts(self) -> list[str]:
        definers = [need.removeprefix("account ") for need in self._needs if need.startswith("account ")]
        databases = None if self._declared.all else self.databases
        path = self._work / accounts.FILENAME
        written = accounts.write(self._session, path, databases=databases, definers=definers)
        return [accounts.FILENAME] if written else []


def named(session: Session, declared: MysqlSource, where: str) -> tuple[str, ...]:
    """Return the databases that a plan means. Raises `SourceError` when one is not there, or not to be seen."""
    there, asked = databases_of(session), declared.named
    missing = [name for name in asked if name not in there]
    if missing or not there:
        what = f"the database {', '.join(missing)} is not" if missing else "there is no database"
        raise SourceError(
            f"{what} on the server, or not to be seen by its account", where,
            hint="correct the plan's databases, or grant the account SELECT on them",
        )  # fmt: skip
    if asked:
        return asked
    if left := [name for name in there if is_kept(name)]:
        log.warning("%s: not captured, as a recovery left them beside others: %s; drop them when they are not needed",
                    where, ", ".join(left))  # fmt: skip
    return tuple(name for name in there if not is_kept(name))


def omissions(server: Server, declared: MysqlSource, where: str) -> list[Omission]:
    """Return what a capture made now would not take, could not see, or would find lacking at the source."""
    with Session(server, timeout=QUERY_SECONDS) as session:
        databases = named(session, declared, where)
        tables = Inventory(session, databases).tables()
        broken, gone = lacking.broken_views(session, databases), lacking.gone_owners(session, databases)
        return _omissions(session, declared, databases, tables, broken, gone)


def _omissions(
    session: Session,
    declared: MysqlSource,
    databases: Sequence[str],
    tables: Sequence[Table],
    broken: Sequence[lacking.Broken],
    gone: Sequence[str],
) -> list[Omission]:
    elsewhere = [(table.key, table.engine) for table in tables if table.elsewhere]
    return [
        *rights.unseen(session, databases, everything=declared.all),
        *([] if rights.sees_accounts(session) else [_unseen_accounts(session, declared, databases, gone)]),
        *lacking.of_views(broken),
        *lacking.of_owners(gone),
        *lacking.of_elsewhere(elsewhere),
    ]


def _unseen_accounts(
    session: Session, declared: MysqlSource, databases: Sequence[str], gone: Sequence[str]
) -> Omission:
    owners = [owner for owner in definers_of(session, databases) if owner not in gone]
    return rights.unseen_accounts(session, everything=declared.all, owners=owners)


def _steady(first: dict[str, int], second: dict[str, int], doubtful: set[str]) -> dict[str, int]:
    """Return the counts that are certain, and those of the doubtful that were equal twice."""
    return {key: rows for key, rows in first.items() if key not in doubtful or second.get(key) == rows}
