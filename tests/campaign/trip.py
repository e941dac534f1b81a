"""A batch of generated databases on its way: made, captured, drilled, recovered onto a bare server, recovered in place.

What is compared are dumps by the database's own dump program, before and after: our own eyes are not enough. A
difference that the program itself has named is no failure.
"""

from __future__ import annotations

import difflib
import json
import re
import secrets
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer, program
from tests.campaign.fuse import Fuse
from tests.campaign.seeded import Seeded
from tests.conftest import Ran, Site, plan_text

AGREED = (0, 3, 4)  # done, done and something named, done and too slow: the machine may be busy


class Kind(Protocol):
    """A kind of server, as a trip needs it. `programs` is where a plan finds them, where that is elsewhere."""

    programs: Path | None

    def build(self, made: Seeded) -> list[str]:
        """Make a database; return what the server refused of it."""

    def dump(self, name: str) -> str:
        """Return the whole of a database as its own dump program writes it, without what may differ."""

    def spoil(self, name: str) -> None:
        """Lose something of a database, so that a recovery has work to do."""

    def carry_out(self, script: Path) -> None:
        """Run a script by hand, as the program says to."""

    def source(self, names: Sequence[str]) -> str:
        """Return a plan's source that reaches this server."""


class MariadbKind:
    """MariaDB."""

    def __init__(self, server: MariadbServer, *, programs: Path | None = None) -> None:
        self.server, self.programs = server, programs

    def build(self, made: Seeded) -> list[str]:
        """See `Kind`."""
        parts = [*made.before, f"CREATE DATABASE `{made.name}`", f"USE `{made.name}`", *made.statements, *made.after]
        text = "DELIMITER //\n" + "".join(f"{part}\n//\n" for part in parts)
        argv = self.server.client("--binary-mode", "--force")
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        return [line for line in done.stderr.splitlines() if line.startswith("ERROR")]

    def dump(self, name: str) -> str:
        """See `Kind`."""
        argv = [
            "mariadb-dump", "--no-defaults", "--user=root", f"--socket={self.server.socket}", "--force", "--hex-blob",
            "--single-transaction", "--skip-lock-tables", "--skip-dump-date", "--routines", "--events", "--triggers",
            "--order-by-primary", "--skip-extended-insert", "--default-character-set=utf8mb4", "--databases", name,
        ]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        code = self._code(name)
        return _plain_mysql(done.stdout + code)

    def _code(self, name: str) -> str:
        """What dumps do not tell of: who may call a routine, and how each view is meant."""
        rights = self.server.sql(
            f"SELECT User, Host, Routine_name, Routine_type, Proc_priv FROM mysql.procs_priv WHERE Db = '{name}' ORDER BY 1, 2, 3, 4"
        )
        return "\n".join(" | ".join(row) for row in rights)

    def spoil(self, name: str) -> None:
        """See `Kind`."""
        (table, *_), *_ = self.server.sql(
            f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{name}' AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1"
        )
        self.server.sql(f"INSERT INTO `{table}` (word, n) VALUES ('later than the capture', 99)", name)

    def carry_out(self, script: Path) -> None:
        """See `Kind`."""
        self.server.sql(script.read_bytes())

    def source(self, names: Sequence[str]) -> str:
        """See `Kind`."""
        more = f", bin: {self.programs}" if self.programs else ""
        return (
            f"database: {{mysql: {{databases: [{', '.join(names)}], socket: {self.server.socket}, user: root{more}}}}}"
        )


class PostgresKind:
    """PostgreSQL."""

    def __init__(self, server: PostgresServer, *, programs: Path | None = None) -> None:
        self.server, self.programs = server, programs

    def build(self, made: Seeded) -> list[str]:
        """See `Kind`."""
        said = self._psql("postgres", [*made.before, f"create database {made.name} template template0"])
        said += self._psql(made.name, made.statements)
        return said + self._psql("postgres", made.after)

    def _psql(self, database: str, statements: Sequence[str]) -> list[str]:
        argv = [program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=0", "-d", database]
        text = "".join(f"{statement};\n" for statement in statements)
        done = subprocess.run(
            argv, input=text, env=self.server.environment, capture_output=True, text=True, check=False
        )
        return [line for line in done.stderr.splitlines() if "ERROR" in line]

    def dump(self, name: str) -> str:
        """See `Kind`."""
        argv = [program("pg_dump"), "--create", "-d", name]
        done = subprocess.run(argv, env=self.server.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return _plain_postgres(done.stdout)

    def spoil(self, name: str) -> None:
        """See `Kind`."""
        made = "select quote_ident(schemaname) || '|' || quote_ident(tablename) from pg_tables where tablename like '%\\_tab' order by 1 limit 1"
        schema, table = self.server.psql(made, name).split("|")
        path = f"set search_path = {schema}, public"  # as the application has it, whose functions rely on it
        self.server.psql(f"{path}; insert into {table} (word, n) values ('later than the capture', 99)", name)

    def carry_out(self, script: Path) -> None:
        """See `Kind`."""
        self.server.psql(script.read_text())

    def source(self, names: Sequence[str]) -> str:
        """See `Kind`."""
        place = f"host: {self.server.socket}, port: {self.server.port}, user: {self.server.user}"
        more = f", bin: {self.programs}" if self.programs else ""
        return f"database: {{postgres: {{databases: [{', '.join(names)}], {place}{more}}}}}"


def _plain_mysql(text: str) -> str:
    """Without comments, and without what one trip through a dump changes: parentheses of joins, Aria's checksums."""
    lines = [line for line in text.splitlines() if line and not line.startswith("--")]
    lines = [
        re.sub(r"[()]", "", line) if " VIEW " in line or line.startswith("/*!50001 select") else line for line in lines
    ]
    return "\n".join(re.sub(r" (?:PAGE_CHECKSUM|TRANSACTIONAL)=\d", "", line) for line in lines)


def _plain_postgres(text: str) -> str:
    """Without comments and the marks of one dump; settings, which are a set, in one order."""
    dropped = ("--", "\\restrict", "\\unrestrict")
    lines = [line for line in text.splitlines() if line and not line.startswith(dropped)]
    settings = [line for line in lines if _SETTING.match(line)]
    return "\n".join([*sorted(settings), *(line for line in lines if not _SETTING.match(line))])


_SETTING = re.compile(r"ALTER (?:DATABASE|ROLE) .* SET ")


@dataclass(frozen=True)
class Difference:
    """What came back otherwise: of which database, at which stage, and how."""

    stage: str
    name: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.stage}: {self.name}\n    " + "\n    ".join(self.lines[:12])


@dataclass
class Trip:
    """One batch between two servers: the `live` one, and a `bare` one that stands in after a loss."""

    site: Site
    live: Kind
    bare: Kind
    batch: Sequence[Seeded]

    @property
    def names(self) -> list[str]:
        """The databases."""
        return [made.name for made in self.batch]

    def go(self) -> list[Difference]:
        """Do the whole of it; return every difference that nobody named."""
        before = self.make()
        said = self._run("capture", "--json", "backup", "camp")
        named = _texts(said)
        drill = self._run("drill", "--json", "drill", "camp")
        named |= _texts(drill)
        found = self._beside(before, named)
        return found + self._in_place(before, named)

    def make(self) -> dict[str, str]:
        """Make the databases, and the plan; return their dumps."""
        self.site.target("disk", f"target: disk\nlocal: {{path: {self.site.root}/disk}}\n")
        for made in self.batch:
            self.live.build(made)
        self.plan(self.live)
        return {name: self.live.dump(name) for name in self.names}

    def plan(self, kind: Kind) -> None:
        """Point the plan at a server."""
        checks = "drill: {checks: [manifest, {rows: {source: database}}, {schema: {source: database}}]}\n"
        self.site.plan("camp", plan_text("camp", kind.source(self.names), targets="[disk]", more=checks))

    def spoil(self) -> None:
        """Lose something of each live database."""
        for name in self.names:
            self.live.spoil(name)

    def dumps(self) -> dict[str, str]:
        """Return what the live databases are now."""
        return {name: self.live.dump(name) for name in self.names}

    def recover(self, *, code: int | None = 0) -> Ran:
        """Recover in place."""
        return self._recover(*(word for name in self.names for word in ("--replace", name)), code=code)

    def _recover(self, *words: str, code: int | None) -> Ran:
        """Recover, and where the server refuses objects again without them, as the hint says."""
        place = str(self.site.root / f"to-{secrets.token_hex(4)}")
        ran = self.site.dr("--json", "recover", "camp", "--to", place, *words, "--yes", code=None)
        accepted = re.findall(r"--accept-missing (\S+)", "\n".join(_texts(json.loads(ran.out)))) if ran.out else []
        if ran.code == 1 and accepted and "--accept-missing" not in words:
            more = [word for name in dict.fromkeys(accepted) for word in ("--accept-missing", name.strip("`"))]
            return self._recover(*words, *more, code=code)
        assert code is None or ran.code == code, ran.err
        return ran

    def recovered(self, fuse: Fuse) -> int:
        """Recover in place, whole, and return how many lines that says to the server."""
        self.spoil()
        fuse.set(0, "refused")
        ran = self.recover(code=None)
        assert ran.code in AGREED, ran.err
        return fuse.passed

    def holds(self, before: dict[str, str], *, or_else: dict[str, str], how: str) -> None:
        """See that the live databases are what they were before, or what was to come back; all of them the same."""
        now = self.dumps()
        if now not in (before, or_else):
            lines = [line for name in self.names for line in different(before[name], now[name])][:20]
            raise AssertionError(f"{how}: the live databases are neither as before nor recovered:\n" + "\n".join(lines))

    def go_back(self) -> None:
        """Go the way back that a killed recovery left behind, by hand."""
        for script in self.site.root.glob("to-*/**/undo.sql"):
            self.live.carry_out(script)
            script.unlink()

    def _beside(self, before: dict[str, str], named: set[str]) -> list[Difference]:
        self.plan(self.bare)
        try:
            words = self._agreed("recovery onto a bare server", self._recover(code=None))
        finally:
            self.plan(self.live)
        return self._compare("on a bare server", self.bare, before, named | _texts(words))

    def _in_place(self, before: dict[str, str], named: set[str]) -> list[Difference]:
        self.spoil()
        words = self._agreed("recovery in place", self.recover(code=None))
        return self._compare("in place", self.live, before, named | _texts(words))

    def _compare(self, stage: str, kind: Kind, before: dict[str, str], named: set[str]) -> list[Difference]:
        said = "\n".join(named)
        lacked = frozenset(_LACKED.findall(said))
        found = [
            Difference(stage, name, tuple(different(without(before[name], lacked), without(kind.dump(name), lacked))))
            for name in self.names
        ]
        return [each for each in found if [line for line in each.lines if not is_named(line, said)]]

    def _run(self, stage: str, *words: str) -> Any:
        return self._agreed(stage, self.site.dr(*words, code=None))

    def _agreed(self, stage: str, ran: Ran) -> Any:
        if ran.code not in AGREED:
            raise RefusedTripError(stage, f"exit {ran.code}: {_reasons(ran.out) or ran.err[-2000:]}")
        return [ran.document, ran.err]


class RefusedTripError(AssertionError):
    """A stage that did not go through."""

    def __init__(self, stage: str, why: str) -> None:
        super().__init__(f"{stage}: {why}")
        self.stage, self.why = stage, why


def different(one: str, other: str) -> list[str]:
    """Return the lines that only one of two dumps has, with a sign before them."""
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), lineterm="", n=0)
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def _texts(document: Any) -> set[str]:
    """Every text in a document: all that the program said of it."""
    if isinstance(document, str):
        return {document}
    if isinstance(document, dict):
        return {text for value in document.values() for text in _texts(value)}
    if isinstance(document, list):
        return {text for value in document for text in _texts(value)}
    return set()


#: What the source itself had broken, and what a restore of it therefore may do without.
_LACKED = re.compile(r"the \w+ \S+\.(\w+) was missing or broken at the source")
_SETTING_OF_CLIENT = re.compile(r"SET .*(?:character_set_\w+|collation_connection)")


def without(text: str, names: Collection[str]) -> str:
    """Return a dump without the statements that name these objects, and what stands around each of these for clients."""
    if not names:
        return text
    kept = [
        each
        for each in re.split(r"(?<=;)\n", text)
        if not (_SETTING_OF_CLIENT.search(each) or any(f"`{name}`" in each for name in names))
    ]
    return "\n".join(kept)


_OBJECT = re.compile(r"[`\"]?\b([a-z]\d{1,2}_\w+)\b")


def is_named(line: str, said: str) -> bool:
    """Whether the program named an object of this line."""
    return any(name in said for name in _OBJECT.findall(line))


def _reasons(out: str) -> str:
    try:
        document = json.loads(out)
    except ValueError:
        return out[-2000:]
    texts = [text for text in _texts(document) if len(text) > 60]
    checks = [
        f"{c['check']}: {c['observed']}"
        for d in document.get("drills", [])
        for c in d.get("checks", [])
        if c["outcome"] == "failed"
    ]
    return "; ".join([*checks, *sorted(texts)])[:3000]
