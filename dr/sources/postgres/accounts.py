"""Roles that are on a server already and are not as they were captured: a recovery leaves them, and names each.

Whoever broke into the server may have made one of them a superuser, or given it a password of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field

from dr.late_dataclass import dataclass
from dr.sources.postgres import roles
from dr.sources.postgres.connection import identifier

_WITH = re.compile(r"\s*ALTER ROLE (?:\"(?:[^\"]|\"\")*\"|\S+) WITH (.*)", re.DOTALL)
_SET = re.compile(r"\s*ALTER ROLE (?:\"(?:[^\"]|\"\")*\"|\S+) SET (\S+) TO (.*)", re.DOTALL)
_PASSWORD = re.compile(r"PASSWORD ((?:E)?'(?:[^'\\]|''|\\.)*')")
_WORDS = re.compile(r"CONNECTION LIMIT -?\d+|VALID UNTIL '[^']*'|[A-Z]+")
#: What takes away an attribute that the captured role has not got, where the captured one does not name its opposite.
_OFF = {"CONNECTION": "CONNECTION LIMIT -1", "VALID": "VALID UNTIL 'infinity'"}


@dataclass
class Role:
    """One role. `password` is a digest, and is compared only; None where none is told."""

    attributes: set[str] = field(default_factory=set)
    password: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)


def read(script: str) -> dict[str, Role]:
    """Return the roles that a script of `pg_dumpall --globals-only` makes."""
    found: dict[str, Role] = {}
    for each in roles.statements(script):
        role = found.setdefault(each.role, Role())
        if each.group:
            role.groups.add(each.group)
        elif match := _WITH.match(each.text):
            if secret := _PASSWORD.search(match[1]):
                role.password = secret[1]
            role.attributes = set(_WORDS.findall(_PASSWORD.sub("", match[1])))
        elif match := _SET.match(each.text):
            role.settings[match[1]] = match[2].strip()
    return found


def differences(captured: str, there: str) -> list[str]:
    """Return a line for each role that is there and is not as it was captured, with the statements that make it so.

    Superusers that were not captured are named too. Passwords are compared where both scripts have them.
    """
    before, now = read(captured), read(there)
    secrets = any(role.password for role in now.values()) and any(role.password for role in before.values())
    lines = []
    for name in sorted(before.keys() & now.keys()):
        told = [*_differ(name, before[name], now[name], secrets=secrets)]
        if told:
            what, statements = ", ".join(what for what, _ in told), " ".join(todo for _, todo in told)
            lines.append(f"the role {name} on the server is not as it was captured ({what}) and stays so: {statements}")
    for name in sorted(now.keys() - before.keys()):
        if "SUPERUSER" in now[name].attributes:
            lines.append(
                f"the role {name} on the server is a superuser and was not captured: "
                f"ALTER ROLE {identifier(name)} NOSUPERUSER; or DROP ROLE {identifier(name)};"
            )
    return [*lines, *_of_all(roles.settings_of_all(captured), roles.settings_of_all(there))]


def _of_all(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            todo = f"SET {key} TO {before[key]};" if key in before else f"RESET {key};"
            yield f"the setting {key} of all roles is not as it was captured, and stays so: ALTER ROLE ALL {todo}"


def _differ(name: str, before: Role, now: Role, *, secrets: bool) -> Iterator[tuple[str, str]]:
    whom = identifier(name)
    gained, lost = sorted(now.attributes - before.attributes), sorted(before.attributes - now.attributes)
    if gained or lost:
        opposite = {_subject(each) for each in lost}
        off = [_OFF[word] for each in gained if (word := each.split()[0]) in _OFF and _subject(each) not in opposite]
        yield f"{', '.join(gained) or 'less'}", f"ALTER ROLE {whom} {' '.join([*lost, *off])};"
    if secrets and before.password != now.password:
        what = (
            "another password" if now.password and before.password else "a password" if now.password else "no password"
        )
        yield what, f"its own is in globals.sql of `dr recover --dumps`; a new one: \\password {whom}"
    for key in sorted(before.settings.keys() | now.settings.keys()):
        if before.settings.get(key) != now.settings.get(key):
            value = before.settings.get(key)
            yield f"its setting {key}", f"ALTER ROLE {whom} " + (f"SET {key} TO {value};" if value else f"RESET {key};")
    for group in sorted(now.groups - before.groups):
        yield f"member of {group}", f"REVOKE {identifier(group)} FROM {whom};"
    for group in sorted(before.groups - now.groups):
        yield f"not a member of {group}", f"GRANT {identifier(group)} TO {whom};"


def _subject(attribute: str) -> str:
    """Return what an attribute is about, whether it is given or not."""
    word = attribute.split()[0]
    return word.removeprefix("NO")
