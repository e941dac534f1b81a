"""What a capture's account may see, held against what a whole capture needs: what it may not see, it cannot miss.

Servers show an account only what it has rights on, and say nothing of the rest. So the rights themselves are looked
at, class by class of objects, and each class that may be there unseen is named with the statement that mends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import field

from dr.errors import SourceError
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.sources.database_inventory import ACCOUNTS
from dr.sources.mysql.accounts import matches, pattern_of
from dr.sources.mysql.connection import quoted
from dr.sources.mysql.inventory import account_of, server_of
from dr.sources.mysql.session import Session
from dr.sources.unseen import unseen as not_seen

_GRANT = re.compile(
    r"^(GRANT|REVOKE) (.+?) ON (?:(TABLE|FUNCTION|PROCEDURE|PACKAGE|PACKAGE BODY) )?"
    r"(\*|[`\"](?:[^`\"]|``)+[`\"])\.(\*|[`\"](?:[^`\"]|``)+[`\"]) (?:TO|FROM) (\S+)",
    re.DOTALL,
)
_BETWEEN = re.compile(r", (?![^(]*\))")
_ALL = "ALL PRIVILEGES"
#: The rights on a database that show a class of its objects: what may be unseen without.
_CLASSES = (
    ("SELECT", "tables"),
    ("SHOW VIEW", "definitions of views"),
    ("TRIGGER", "triggers"),
    ("EVENT", "events"),
)
#: On every server there is.
_EVERYWHERE = frozenset({"'root'@'localhost'"})
#: Where MariaDB keeps what accounts are and may do.
_ACCOUNTS = ("user", "db", "tables_priv", "columns_priv", "procs_priv")


@dataclass
class Held:
    """Rights: everywhere, on databases by pattern (by whom they are held), on single tables; and what was taken out."""

    everywhere: set[str] = field(default_factory=set)
    by_pattern: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    on_tables: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    revoked: dict[str, set[str]] = field(default_factory=dict)

    def on(self, database: str, right: str) -> bool:
        """Whether a right is held on all of a database."""
        if self._within(self.everywhere, right) and right not in self.revoked.get(database, ()):
            return True
        return any(self._within(rights, right) for rights in self._applying(database))

    def on_table(self, database: str, table: str, right: str) -> bool:
        """Whether a right is held on one table."""
        return self.on(database, right) or self._within(self.on_tables.get((database, table), set()), right)

    def pattern_for(self, database: str) -> str:
        """Return the pattern that a grant on a database should name: of several that fit, servers go by one alone."""
        fitting = [pattern for _, pattern in self.by_pattern if matches(pattern, database)]
        return max(fitting, key=_closeness, default=pattern_of(database))

    def _applying(self, database: str) -> Iterable[set[str]]:
        """Yield for each holder the rights of the one pattern that a server goes by: the closest."""
        for holder in {who for who, _ in self.by_pattern}:
            fitting = [pattern for who, pattern in self.by_pattern if who == holder and matches(pattern, database)]
            if fitting:
                yield self.by_pattern[holder, max(fitting, key=_closeness)]

    @staticmethod
    def _within(rights: set[str], right: str) -> bool:
        return right in rights or _ALL in rights


def _closeness(pattern: str) -> tuple[bool, int]:
    wild = re.search(r"(?<!\\)[%_]", pattern)
    return (wild is None, wild.start() if wild else len(pattern))


def held_by_us(session: Session) -> Held:
    """Return the rights of the session's account and of the roles it acts in."""
    return held_in(_shown(session))


def held_in(lines: Iterable[str]) -> Held:
    """Return the rights that lines of SHOW GRANTS give."""
    found = Held()
    for line in lines:
        if parsed := _GRANT.match(line):
            _note(found, parsed)
    return found


def _shown(session: Session) -> list[str]:
    rows = [row[0] or "" for row in session.rows("SHOW GRANTS")]
    maria = server_of(session).startswith("MariaDB")
    with suppress(SourceError):
        roles = session.rows("SELECT CURRENT_ROLE()")[0][0]
        if not maria and roles and roles != "NONE":
            rows = [row[0] or "" for row in session.rows(f"SHOW GRANTS FOR CURRENT_USER() USING {roles}")]
    with suppress(SourceError):
        rows += [row[0] or "" for row in session.rows("SHOW GRANTS FOR PUBLIC")] if maria else []
    return rows


def _note(found: Held, parsed: re.Match[str]) -> None:
    act, what, kind, database, item, holder = parsed.groups()
    rights = {right.strip().upper() for right in _BETWEEN.split(what)}
    name, single = (part if part == "*" else part[1:-1].replace("``", "`") for part in (database, item))
    if act == "REVOKE":
        found.revoked.setdefault(name, set()).update(rights)
    elif name == "*":
        found.everywhere |= rights
    elif single == "*":
        found.by_pattern.setdefault((holder, name), set()).update(rights)
    elif kind in (None, "TABLE"):
        found.on_tables.setdefault((name, single), set()).update(rights)


def unseen(session: Session, databases: Sequence[str], *, everything: bool) -> list[Omission]:
    """Return what a capture of databases may not see; `everything`: all of the server is meant. Accounts apart."""
    held, maria = held_by_us(session), server_of(session).startswith("MariaDB")
    who = account_of(session.rows("SELECT CURRENT_USER()")[0][0] or "")
    found = [_unseen_databases(who)] if everything and not _sees_databases(held) else []
    for right, objects in _CLASSES:
        blind = [name for name in databases if not held.on(name, right)]
        if blind:
            found.append(_told(objects, blind, [_grant(right, held.pattern_for(name), who) for name in blind]))
    if not _sees_routines(held, maria=maria):
        blind = [name for name in databases if maria is False or not held.on(name, "SHOW CREATE ROUTINE")]
        grant = f"GRANT SELECT ON mysql.proc TO {who}" if maria else f"GRANT SHOW_ROUTINE ON *.* TO {who}"
        found += [_told("routines", blind, [grant])] if blind else []
    return found


def sees_accounts(session: Session) -> bool:
    """Whether the session's account may read all that makes accounts again."""
    return _sees_accounts(held_by_us(session), maria=server_of(session).startswith("MariaDB"))


def unseen_accounts(session: Session, *, everything: bool, owners: Sequence[str]) -> Omission:
    """Return what to tell of accounts that may not be read; `owners` are known to own views or code."""
    who = account_of(session.rows("SELECT CURRENT_USER()")[0][0] or "")
    return not_seen(
        "accounts and their rights cannot be seen, and are not in the point",
        f"GRANT SELECT ON mysql.* TO {who};",
        names=(ACCOUNTS,),
        everything=everything,
        owners=[owner for owner in owners if owner not in _EVERYWHERE],
    )


def _told(objects: str, databases: Sequence[str], grants: Sequence[str]) -> Omission:
    return Omission(
        what=f"{objects} of {', '.join(databases)} that the account may not see are not in the point",
        hint="; ".join(grants) + ";",
        names=tuple(f"{objects} of {name}" for name in databases),
    )


def _grant(right: str, pattern: str, who: str) -> str:
    return f"GRANT {right} ON {quoted(pattern)}.* TO {who}"


def _unseen_databases(who: str) -> Omission:
    return Omission(
        what="databases that the account may not see are not in the point, although the plan says all",
        hint=f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO {who};",
        names=("databases",),
    )


def _sees_databases(held: Held) -> bool:
    return bool(held.everywhere & {"SELECT", "SHOW DATABASES", _ALL})


def _sees_routines(held: Held, *, maria: bool) -> bool:
    if maria:
        return held.on_table("mysql", "proc", "SELECT") or bool(held.everywhere & {"SHOW CREATE ROUTINE"})
    return bool(held.everywhere & {"SELECT", "SHOW_ROUTINE", _ALL})


def _sees_accounts(held: Held, *, maria: bool) -> bool:
    tables = (*_ACCOUNTS, "roles_mapping", "global_priv") if maria else (*_ACCOUNTS, "role_edges", "global_grants")
    return held.on("mysql", "SELECT") or all(held.on_table("mysql", table, "SELECT") for table in tables)
