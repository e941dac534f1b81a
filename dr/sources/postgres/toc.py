"""What a dump's table of contents names, and what `pg_restore` says of the entries that a server refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from dr.late_dataclass import dataclass

#: The kinds of entries that have other kinds' words in theirs come first.
_KINDS = (
    "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW", "TABLE DATA", "TABLE ATTACH", "TABLE", "NOT NULL CONSTRAINT",
    "FK CONSTRAINT", "CHECK CONSTRAINT", "CONSTRAINT", "DEFAULT ACL", "DEFAULT", "SEQUENCE OWNED BY", "SEQUENCE SET",
    "SEQUENCE", "INDEX ATTACH", "INDEX", "EVENT TRIGGER", "TRIGGER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "SERVER",
    "USER MAPPING", "FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR FAMILY", "OPERATOR CLASS", "OPERATOR", "CAST",
    "TRANSFORM", "SHELL TYPE", "TYPE", "DOMAIN", "VIEW", "RULE", "POLICY", "ROW SECURITY", "EXTENSION", "SCHEMA",
    "COLLATION", "CONVERSION", "TEXT SEARCH PARSER", "TEXT SEARCH DICTIONARY", "TEXT SEARCH TEMPLATE",
    "TEXT SEARCH CONFIGURATION", "ACCESS METHOD", "PUBLICATION TABLES IN SCHEMA", "PUBLICATION TABLE", "PUBLICATION",
    "SUBSCRIPTION TABLE", "SUBSCRIPTION", "STATISTICS DATA", "STATISTICS", "COMMENT", "SECURITY LABEL", "ACL", "BLOBS",
    "BLOB METADATA", "BLOB", "LARGE OBJECT", "PROCEDURAL LANGUAGE",
)  # fmt: skip
#: Without these, data is not there: nothing that could be done without.
_DATA = frozenset({"TABLE", "TABLE DATA", "SEQUENCE SET", "BLOBS", "BLOB", "BLOB METADATA", "LARGE OBJECT"})
#: Their entries are called TABLE OBJECT.
_OF_TABLES = frozenset({
    "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "POLICY", "RULE", "DEFAULT", "NOT NULL CONSTRAINT",
})  # fmt: skip
_LINE = re.compile(rf"(\d+); \d+ \d+ ({'|'.join(_KINDS)}) (.*)")
_FROM = "pg_restore: from TOC entry "
_SAID = re.compile(r"pg_restore: (?:error: |warning: )?(.*)")
_ERROR = re.compile(r".*?\b(?:ERROR|FATAL|PANIC):\s+(.*)")
_COMMAND = "Command was: "
#: From here on a statement may hold a secret.
_SECRET = re.compile(r"\b(?:OPTIONS|CONNECTION|PASSWORD)\b.*", re.DOTALL | re.IGNORECASE)
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One statement that a server refused: of what entry, and why. `statement` is empty where data was refused."""

    kind: str
    schema: str = ""
    tag: str = ""
    statement: str = ""
    cause: str = ""

    @property
    def of_data(self) -> bool:
        """Whether rows are missing by it."""
        return self.kind in _DATA and not self.statement.startswith(("ALTER", "COMMENT", "GRANT", "REVOKE"))

    @property
    def of_session(self) -> bool:
        """Whether it is a setting of the session that loads, which a newer release knows: nothing is missing by it."""
        return not self.tag and self.statement.startswith("SET ") and "unrecognized configuration" in self.cause

    @property
    def name(self) -> str:
        """The object's name below its database, quoted as SQL would."""
        parts = self.tag.split(" ", 1) if self.kind in _OF_TABLES else [self.tag]
        if self.kind in ("ACL", "COMMENT", "SECURITY LABEL") and " " in self.tag:
            parts = [self.tag.split(" ", 1)[1]]
        whole = [self.schema] * (self.schema not in ("", "-")) + parts
        return ".".join(_quoted(part) for part in whole)

    @property
    def shown(self) -> str:
        """The statement as it may be shown."""
        return _SECRET.sub("…", self.statement)


def entries(listed: bytes) -> dict[str, tuple[str, str]]:
    """Return the kind and the rest (schema, name, owner) of each entry that `pg_restore -l` lists, by its number."""
    found = {}
    for line in listed.decode("utf-8", "surrogateescape").splitlines():
        if match := _LINE.fullmatch(line.rstrip()):
            found[match[1]] = (match[2], match[3])
    return found


def refusals(stderr: bytes, listed: Mapping[str, tuple[str, str]], owners: Collection[str]) -> list[Refusal]:
    """Return what `pg_restore` said was refused; `owners` are the roles that an entry's line may end with."""
    kind, schema, tag, found = "", "", "", []
    for said, more in _blocks(stderr.decode("utf-8", "surrogateescape")):
        if match := _LINE.fullmatch(said.removeprefix("from TOC entry ").rstrip()):
            kind, rest = match[2], match[3].removesuffix("(no owner)").rstrip()
            whole = listed.get(match[1], ("", rest))[1]
            schema = whole[: -len(rest)].strip() if whole.endswith(rest) else ""
            tag = _without_owner(rest, owners)
        elif error := _ERROR.search(said):
            text = "\n".join(more)
            statement = text.partition(_COMMAND)[2].strip() if _COMMAND in text else ""
            found.append(Refusal(kind=kind or "statement", schema=schema, tag=tag, statement=statement, cause=error[1]))
    return found


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what pg_restore says, one thing at a time: its line, and those that follow and are not its own."""
    said = ""
    more: list[str] = []
    for line in text.splitlines():
        if match := _SAID.fullmatch(line):
            if said:
                yield said, more
            said, more = match[1], []
        else:
            more.append(line)
    if said:
        yield said, more


def _without_owner(rest: str, owners: Collection[str]) -> str:
    owner = max((each for each in owners if rest.endswith(f" {each}")), key=len, default="")
    return rest.removesuffix(f" {owner}").strip() if owner else rest.strip()


def _quoted(name: str) -> str:
    called, bracket, arguments = name.partition("(")
    return (called if _PLAIN.fullmatch(called) else '"' + called.replace('"', '""') + '"') + bracket + arguments
