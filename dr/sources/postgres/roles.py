"""The accounts of a captured server, as `pg_dumpall` writes them: taken apart, so that each can be judged."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from dr.late_dataclass import dataclass

#: What a statement is made of: texts, quoted names, comments, the end, anything else.
_PIECE = re.compile(
    r"""E'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|^\\[^\n]*|;|.""", re.DOTALL | re.MULTILINE
)
_NAME = r'("(?:[^"]|"")*"|[^\s";]+)'
_OF_ROLE = re.compile(rf"\s*(?:CREATE|ALTER|COMMENT ON) ROLE {_NAME}")
_OF_ALL = re.compile(r"\s*ALTER ROLE ALL SET ((?:\"(?:[^\"]|\"\")*\"|[^\s\"])+) TO (.*)", re.DOTALL)
_LOGIN = re.compile(rf"\s*ALTER ROLE {_NAME} WITH (?:[A-Z]+ )*LOGIN\b")
_MEMBER = re.compile(rf"\s*GRANT {_NAME} TO {_NAME}")
_PARAMETER = re.compile(rf"\s*GRANT [A-Z ,]+ ON PARAMETER \S+ TO {_NAME}")
_TABLESPACE = re.compile(rf"\s*CREATE TABLESPACE {_NAME}")


@dataclass(frozen=True)
class Statement:
    """One statement about a role; for a membership that is who becomes a member, and `group` of what."""

    text: str
    role: str
    group: str = ""


def statements(script: str) -> Iterator[Statement]:
    """Yield what a script says of roles, in its order; tablespaces and what is for all roles are passed over."""
    for text in _split(script):
        if _OF_ALL.match(text):
            continue
        if found := _OF_ROLE.match(text):
            yield Statement(text, _bare(found[1]))
        elif found := _MEMBER.match(text):
            yield Statement(text, _bare(found[2]), _bare(found[1]))
        elif found := _PARAMETER.match(text):
            yield Statement(text, _bare(found[1]))


def making(script: str, *, there: Collection[str]) -> str:
    """Return the statements that make the roles that are not there yet. Roles that are there are left as they are.

    A membership is granted where its member or its group is new; roles of the server's own are never made.
    """
    found = list(statements(script))
    new = {each.role for each in found if not each.group} - set(there)
    wanted = [each.text for each in found if (each.group or each.role) in new or each.role in new]
    return "".join(f"{text};\n" for text in wanted)


def settings_of_all(script: str) -> dict[str, str]:
    """Return the settings that every role has, each with its value as it is spelled in a statement."""
    return {found[1]: found[2].strip() for text in _split(script) if (found := _OF_ALL.match(text))}


def tablespaces(script: str) -> list[str]:
    """Return the tablespaces that a script makes."""
    return [_bare(found[1]) for text in _split(script) if (found := _TABLESPACE.match(text))]


def made_by(script: str) -> set[str]:
    """Return the roles that a script makes."""
    return {each.role for each in statements(script) if not each.group}


def logging_in(script: str) -> set[str]:
    """Return the roles of a script that may log in."""
    return {each.role for each in statements(script) if _LOGIN.match(each.text)}


def _split(script: str) -> Iterator[str]:
    parts: list[str] = []
    for piece in _PIECE.findall(script):
        if piece == ";":
            yield "".join(parts).strip()
            parts.clear()
        elif not piece.startswith(("--", "\\")):
            parts.append(piece)


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
