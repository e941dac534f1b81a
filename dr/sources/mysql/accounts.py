"""Accounts and their rights, as statements that make them again: the sidecar `globals.sql`.

It holds hashes of passwords, as the server stores them. Accounts that exist where it is replayed are not changed.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dr.errors import SourceError
from dr.sources.mysql.connection import quoted, text_of
from dr.sources.mysql.inventory import account_of, definers_of, server_of
from dr.sources.mysql.session import Row, Session

FILENAME = "globals.sql"
log = logging.getLogger("dr.mysql")

#: Accounts of the server itself.
_OWN = frozenset({"mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "PUBLIC", ""})
_TAG = "-- account "
_NO_HOST = "@''"  # a role of MariaDB's
_RIGHTS = """SELECT User, Host FROM mysql.db WHERE {name} LIKE Db
    UNION SELECT User, Host FROM mysql.tables_priv WHERE Db = {name}
    UNION SELECT User, Host FROM mysql.procs_priv WHERE Db = {name}"""


def write(session: Session, path: Path, *, databases: Sequence[str] | None, definers: Sequence[str]) -> bool:
    """Write the accounts: all of them, or those that have to do with `databases`. False when they may not be read."""
    try:
        known = existing(session)
        chosen = [account for account in known if account.partition("@")[0].strip("'") not in _OWN]
        if databases is not None:
            wanted = _concerned(session, databases, definers)
            chosen = [account for account in chosen if account in wanted]
        statements = _statements(session, {account: known[account] for account in chosen})
    except SourceError as error:
        if error.retryable:
            raise
        log.info("accounts are not captured: %s", error.cause)
        return False
    lines = "".join(f"{_TAG}{account}\n{statement};\n" for account, statement in statements)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(lines)
    return True


def existing(session: Session) -> dict[str, bool]:
    """Return the server's accounts, and whether each is a role of MariaDB's. Raises where they may not be read."""
    role = "is_role = 'Y'" if server_of(session).startswith("MariaDB") else "0"
    rows = session.rows(f"SELECT User, Host, {role} FROM mysql.user ORDER BY User, Host")  # noqa: S608 - no input
    return {account_of(f"{user}@{place}"): is_role == "1" for user, place, is_role in rows}


class Replay:
    """The accounts of a sidecar made again, those that are missing. Their rights may wait for what they are on.

    Call `go_on` whenever more has come that they may be on, and `end` when all has.
    """

    def __init__(self, session: Session, path: Path, where: str) -> None:
        self._where = where
        self._left: list[tuple[str, str]] = []
        if path.is_file():
            there = existing(session)
            self._left = [(account, text) for account, text in _read(path) if account not in there]
            self.go_on(session)

    def go_on(self, session: Session) -> None:
        """Carry out what could not be carried out yet."""
        answers = list(session.each(statement for _, statement in self._left))
        self._left = [pair for pair, answer in zip(self._left, answers, strict=True) if isinstance(answer, SourceError)]

    def end(self, session: Session) -> None:
        """Do it a last time; accounts that are not whole then are warned about."""
        self.go_on(session)
        if left := sorted({account for account, _ in self._left}):
            log.warning("%s: these accounts are not restored whole: %s", self._where, ", ".join(left))


def _read(path: Path) -> list[tuple[str, str]]:
    parts = re.split(rf"^{re.escape(_TAG)}", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    pairs = (part.partition("\n") for part in parts)
    return [(account, statement.strip()) for account, _, statement in pairs]


def stand_in(session: Session, accounts: Sequence[str]) -> list[str]:
    """Make locked accounts, who may do everything, for those that are missing; return which."""
    there = existing(session)
    missing = [account for account in accounts if account not in there]
    for account in missing:
        name = account.removesuffix(_NO_HOST)
        session.rows(f"CREATE ROLE {name}" if name != account else f"CREATE USER {name} ACCOUNT LOCK")
        session.rows(f"GRANT ALL PRIVILEGES ON *.* TO {name}")
    return missing


def routine_rights(session: Session, database: str) -> tuple[str, ...]:
    """Return who may call a database's routines, as grants: they go when a routine is dropped."""
    try:
        # Only the accounts are read there: MariaDB 10.11 garbles names of databases that are no ASCII.
        holders = session.rows("SELECT DISTINCT User, Host FROM mysql.procs_priv")
    except SourceError:
        return ()
    names = [account_of(f"{user}@{place}").removesuffix(_NO_HOST) for user, place in holders]
    rows = [row for name in names for row in session.rows(f"SHOW GRANTS FOR {name}")]
    return tuple(text for row in rows if (text := row[0] or "") and on_routine(text, database))


def kept_routine_rights(path: Path, database: str) -> tuple[str, ...]:
    """Return the same from a sidecar."""
    return tuple(text.rstrip(";") for _, text in _read(path) if on_routine(text, database)) if path.is_file() else ()


def on_routine(grant: str, database: str) -> str | None:
    """Return the name of the routine of a database that a grant is on, in quotes; None when it is on none."""
    found = re.search(rf" ON (?:FUNCTION|PROCEDURE) {re.escape(quoted(database))}\.(`(?:[^`]|``)+`) TO ", grant)
    return found[1] if found else None


def lend(session: Session, database: str) -> None:
    """Give those who own code in a database of ours all rights there: they have theirs on its real name only."""
    for account in definers_of(session, [database]):
        with suppress(SourceError):  # it may not exist: who needs it says so
            session.rows(f"GRANT ALL PRIVILEGES ON {quoted(_pattern(database))}.* TO {account.removesuffix(_NO_HOST)}")


def take_back(session: Session, database: str) -> None:
    """Take back what was lent, by whomever."""
    with suppress(SourceError):
        name = text_of(_pattern(database))
        for user, place in session.rows(f"SELECT User, Host FROM mysql.db WHERE Db = {name}"):  # noqa: S608 - a literal
            account = account_of(f"{user}@{place}").removesuffix(_NO_HOST)
            session.rows(f"REVOKE ALL PRIVILEGES ON {quoted(_pattern(database))}.* FROM {account}")


def _pattern(database: str) -> str:
    """Return a database's name as a grant has it: a pattern, in which some characters stand for others."""
    return re.sub(r"[\\_%]", lambda found: "\\" + found[0], database)


def _concerned(session: Session, databases: Sequence[str], definers: Sequence[str]) -> set[str]:
    """Return the accounts that own code in the databases or have rights there, and the roles they have."""
    found = set(definers)
    for name in databases:
        found |= _accounts(session.rows(_RIGHTS.format(name=text_of(name))))
    if not server_of(session).startswith("MariaDB"):
        return found
    granted = session.rows("SELECT User, Host, Role FROM mysql.roles_mapping")
    size = -1
    while size != len(found):
        size = len(found)
        found |= {account_of(f"{role}@") for user, place, role in granted if account_of(f"{user}@{place}") in found}
    return found


def _accounts(rows: Sequence[Row]) -> set[str]:
    return {account_of(f"{user}@{place}") for user, place in rows}


def _statements(session: Session, accounts: dict[str, bool]) -> list[tuple[str, str]]:
    """Return first what makes each account, then what each may do: a right can be a role."""
    if not server_of(session).startswith("MariaDB"):
        session.do("SET SESSION print_identified_with_as_hex = ON")
    made: list[tuple[str, str]] = []
    may: list[tuple[str, str]] = []
    for account, is_role in accounts.items():
        name = account.rpartition("@")[0] if is_role else account
        if is_role:
            made.append((account, f"CREATE ROLE IF NOT EXISTS {name}"))
        else:
            shown = session.rows(f"SHOW CREATE USER {name}")[0][0] or ""
            made.append((account, shown.replace("CREATE USER ", "CREATE USER IF NOT EXISTS ", 1)))
        may += [(account, row[0] or "") for row in session.rows(f"SHOW GRANTS FOR {name}")]
    return made + may
