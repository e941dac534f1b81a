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
from dr.sources.mysql.inventory import account_of, server_of
from dr.sources.mysql.session import Row, Session

FILENAME = "globals.sql"
log = logging.getLogger("dr.mysql")

#: Accounts of the server itself.
_OWN = frozenset({"mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "PUBLIC", ""})
_TAG = "-- account "
_NO_HOST = "@''"  # a role of MariaDB's
_ROUTINE = re.compile(r" ON (?:FUNCTION|PROCEDURE|PACKAGE)\b")  # they go and come with the routine
_ON = re.compile(
    r" ON ((?:FUNCTION |PROCEDURE |PACKAGE |PACKAGE BODY |TABLE )?)(`(?:[^`]|``)+`)\.(\*|`(?:[^`]|``)+`) TO "
)
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

    @property
    def waiting(self) -> list[str]:
        """The statements that could not be carried out yet."""
        return [statement for _, statement in self._left]

    def end(self, session: Session) -> None:
        """Do it a last time; accounts that are not whole then are warned about."""
        self.go_on(session)
        if left := sorted({account for account, _ in self._left}):
            log.warning("%s: these accounts are not restored whole: %s", self._where, ", ".join(left))


def _read(path: Path) -> list[tuple[str, str]]:
    parts = re.split(rf"^{re.escape(_TAG)}", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    pairs = (part.partition("\n") for part in parts)
    return [(account, statement.strip()) for account, _, statement in pairs]


def differing(session: Session, path: Path) -> list[str]:
    """Say which accounts of a sidecar are there and are not as they were captured. They are left as they are."""
    there = existing(session)
    kept: dict[str, set[str]] = {}
    for account, statement in _read(path) if path.is_file() else ():
        if account in there:
            kept.setdefault(account, set()).add(_plain(statement))
    found = []
    for account, before in kept.items():
        now = {_plain(statement) for _, statement in _statements(session, {account: there[account]})}
        if parts := _changed(before, now):
            found.append(
                f"the account {account} is on the server and stays as it is, but it is not as it was captured:"
                f" {', '.join(parts)}; to have it as captured: DROP USER {account.removesuffix(_NO_HOST)}, and recover"
            )
    return found


def _plain(statement: str) -> str:
    """Return a statement in one form; of a grant without the password that some servers repeat there."""
    text = statement.rstrip(";").strip()
    return re.sub(r" IDENTIFIED .*", "", text) if text.startswith("GRANT ") else text


def _changed(before: set[str], now: set[str]) -> list[str]:
    """Say how an account differs: never with its password's hash."""
    rights = [
        {text for text in side if text.startswith("GRANT ") and not _ROUTINE.search(text)} for side in (before, now)
    ]
    others = [{text for text in side if not text.startswith("GRANT ")} for side in (before, now)]
    parts = ["its password or its options differ"] if others[0] != others[1] else []
    for word, more in (("now also", rights[1] - rights[0]), ("no longer", rights[0] - rights[1])):
        parts += [f"{word} {text}" for text in sorted(more)]
    return parts


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
    found = re.search(
        rf" ON (?:FUNCTION|PROCEDURE|PACKAGE(?: BODY)?) {re.escape(quoted(database))}\.(`(?:[^`]|``)+`) TO ", grant
    )
    return found[1] if found else None


def lend(session: Session, owners: Sequence[str], database: str, place: str, *, waiting: Sequence[str] = ()) -> None:
    """Give those who own code of a database, which is called `place` meanwhile, the rights there that they have on its
    real name; no more: what a view shows depends on what its owner may read. `waiting` are more rights that accounts
    are to have, on what is not there yet.
    """
    granted = list(waiting)
    for account in owners:
        with suppress(SourceError):  # it does not exist, or may not be asked about: who needs it says so
            rows = session.rows(f"SHOW GRANTS FOR {account.removesuffix(_NO_HOST)}")
            granted += [row[0] or "" for row in rows]
    for grant in granted:
        if mirrored := _mirrored(grant.rstrip(";"), database, place):
            with suppress(SourceError):  # on what is not there
                session.rows(mirrored)


def _mirrored(grant: str, database: str, place: str) -> str | None:
    """Return a right on a database, or on what is in it, as one on a database of another name; None for others."""
    grant = grant.removesuffix(" WITH GRANT OPTION")
    found = _ON.search(grant)
    if not found:
        return None
    pattern, item = found[2][1:-1].replace("``", "`"), found[3]
    if item == "*" and not matches(pattern, database):
        return None
    if item != "*" and pattern != database:
        return None
    named = quoted(pattern_of(place) if item == "*" else place)
    return f"{grant[: found.start()]} ON {found[1] or ''}{named}.{item} TO {grant[found.end() :]}"


def matches(pattern: str, database: str) -> bool:
    """Whether a grant's pattern is about a database."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    forms = {"%": ".*", "_": "."}
    text = "".join(re.escape(part[1:]) if len(part) == 2 else forms.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(text, database, re.DOTALL) is not None


def take_back(session: Session, database: str) -> None:
    """Take back what was lent, by whomever: it outlives the database."""
    with suppress(SourceError):
        for name in sorted(_holders(session, database)):
            for row in session.rows(f"SHOW GRANTS FOR {name}"):
                if revoked := _revoked(row[0] or "", database):
                    session.rows(revoked)


def _holders(session: Session, database: str) -> set[str]:
    """Return who may have rights on a database's own name."""
    pattern, name = text_of(pattern_of(database)), text_of(database)
    rows = session.rows(
        f"SELECT User, Host FROM mysql.db WHERE Db = {pattern} "  # noqa: S608 - literals
        f"UNION SELECT User, Host FROM mysql.tables_priv WHERE Db = {name} "
        "UNION SELECT User, Host FROM mysql.procs_priv"  # of MariaDB 10.11 it is not asked by name: see above
    )
    return {account_of(f"{user}@{place}").removesuffix(_NO_HOST) for user, place in rows}


def _revoked(grant: str, database: str) -> str | None:
    """Return what takes back a right on a database of ours, or on what is in it; None for other rights."""
    found = _ON.search(grant)
    if not found or found[2] not in (quoted(database), quoted(pattern_of(database))):
        return None
    rights = grant[: found.start()].replace("GRANT ", "REVOKE ", 1)
    return f"{rights}{found[0].removesuffix(' TO ')} FROM {grant[found.end() :]}"


def pattern_of(database: str) -> str:
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
