"""What a server's databases lack themselves, or keep elsewhere: told at capture, and no need of a restore later.

A view that nobody can read is not dumped: its definition is kept beside the dump, and the rest is captured. What
belongs to an account that does not exist is captured as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dr.errors import SourceError
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.sources.mysql import accounts
from dr.sources.mysql.connection import quoted, text_of
from dr.sources.mysql.inventory import definers_of
from dr.sources.mysql.session import Session

#: Definitions of views that are broken at the source, stored beside the dump.
FILENAME = "broken-views.sql"
#: Engines that show the rows of other tables.
_VIEWING = frozenset({"MRG_MYISAM", "OQGRAPH"})
#: A query may not be denied to us and pass for broken.
_BROKEN = ("[1356]", "[1146]", "[1054]", "[1305]", "[1449]", "[1267]")


@dataclass(frozen=True)
class Broken:
    """A view that cannot be read, why, and the statement that would make it."""

    database: str
    name: str
    cause: str
    statement: str

    @property
    def full(self) -> str:
        """Its name as a person types it."""
        return f"{self.database}.{self.name}"


def broken_views(session: Session, databases: Sequence[str]) -> list[Broken]:
    """Return the views that the server itself cannot open."""
    names = ", ".join(map(text_of, databases))
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"  # noqa: S608 - literals
        f" WHERE TABLE_SCHEMA IN ({names}) AND TABLE_TYPE = 'VIEW' ORDER BY 1, 2"
    )
    views = [(database or "", name or "") for database, name in rows if database in databases]
    answers = session.each(f"SHOW FIELDS FROM {quoted(database)}.{quoted(name)}" for database, name in views)
    found = [(*view, said.cause) for view, said in zip(views, answers, strict=True) if isinstance(said, SourceError)]
    return [
        Broken(database, name, cause, _statement(session, database, name))
        for database, name, cause in found
        if cause.endswith(_BROKEN)
    ]


def _statement(session: Session, database: str, name: str) -> str:
    try:
        return session.rows(f"SHOW CREATE VIEW {quoted(database)}.{quoted(name)}")[0][1] or ""
    except SourceError as error:
        return f"-- its definition cannot be read: {error.cause}"


def keep(path: Path, broken: Sequence[Broken]) -> None:
    """Write the definitions of broken views."""
    path.write_text("".join(f"-- {each.full}: {each.cause}\n{each.statement};\n" for each in broken), "utf-8")


def of_views(broken: Sequence[Broken]) -> list[Omission]:
    """Return what to tell of broken views."""
    return [
        Omission(
            what=f"the view {each.full} is broken at the source ({each.cause}): only its definition is kept",
            hint=f"repair it, or DROP VIEW {quoted(each.database)}.{quoted(each.name)};",
            names=(each.full,),
            partial=False,
        )
        for each in broken
    ]


def gone_owners(session: Session, databases: Sequence[str]) -> list[str]:
    """Return the accounts that own code and do not exist; none where that may not be asked."""
    try:
        there = accounts.existing(session)
    except SourceError as error:
        if error.retryable:
            raise
        return []
    return [account for account in definers_of(session, databases) if account not in there]


def of_owners(gone: Sequence[str]) -> list[Omission]:
    """Return what to tell of owners that do not exist."""
    return [
        Omission(
            what=f"the account {account} owns views or code and does not exist at the source: they cannot be used",
            hint=f"CREATE USER {account} ACCOUNT LOCK; and grant it what they need, or drop them",
            names=(account,),
            partial=False,
        )
        for account in gone
    ]


def encrypted(session: Session, databases: Sequence[str]) -> list[str]:
    """Return the tables that the server keeps encrypted."""
    names = ", ".join(map(text_of, databases))
    rows = session.rows(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES"  # noqa: S608 - literals
        f" WHERE TABLE_SCHEMA IN ({names}) AND (CREATE_OPTIONS LIKE '%ENCRYPTED%=%YES%'"
        " OR CREATE_OPTIONS LIKE '%ENCRYPTION=%Y%') ORDER BY 1"
    )
    return [row[0] or "" for row in rows]


def of_elsewhere(tables: Sequence[tuple[str, str]]) -> list[Omission]:
    """Return what to tell of tables, with their engines, whose rows are neither theirs nor other tables'."""
    tables = [(key, engine) for key, engine in tables if engine.upper() not in _VIEWING]
    if not tables:
        return []
    told = ", ".join(f"{key} ({engine})" for key, engine in tables)
    return [
        Omission(
            what=f"the rows of these tables are elsewhere, and only their definitions are in the point: {told}",
            hint="capture the servers or files that hold the rows with sources of their own",
            names=tuple(key for key, _ in tables),
            partial=False,
        )
    ]
