"""How PostgreSQL's own programs are started, on this host or another, and how their answers are read.

Passwords travel in the environment or in a file, never in arguments. What a query answers comes back as JSON,
one document a line, or between separators that no data holds.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from dr.errors import FAILED, REFUSED, SourceError
from dr.late_dataclass import dataclass
from dr.plan.on_disk import why_no_file
from dr.plan.secret import SecretPlace
from dr.plan.source_kinds import PostgresSource
from dr.sources.own_errors import own_errors
from dr.sources.secret import read_secret
from dr.tools import command
from dr.tools.command import Done
from dr.tools.host import Host, Process

#: Between the fields and rows of an answer, and for no value: control characters that text does not hold.
_FIELD, _ROW, _NULL = "\x1fdr\x1f", "\x1edr\x1e", "\x1ddr\x1d"
#: What no answer may depend on: settings of the server, of a database or of a role, and how long it takes. A row that
#: a policy would hide is an error. Two of the time-outs are not there in every version.
SETTLED = """
set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0;
select set_config(name, '0', false) from pg_catalog.pg_settings
where name in ('idle_session_timeout', 'transaction_timeout') \\g /dev/null
set standard_conforming_strings = on; set time zone 'UTC'; set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres';
set bytea_output = 'hex'; set xmlbinary = 'base64'; set xmloption = 'content'; set quote_all_identifiers = off;
set array_nulls = on; set transform_null_equals = off; set row_security = off; set default_transaction_read_only = off;
set default_transaction_isolation = 'read committed'; set default_transaction_deferrable = off;
"""
#: The same where a dump is loaded, which does not say it itself; and what only newer servers know, since their majors.
_LOADING = ("default_transaction_read_only=off", "array_nulls=on", "transform_null_equals=off")
_LOADING_SINCE = {14: "idle_session_timeout=0", 17: "transaction_timeout=0"}
#: The same where accounts are read, by a program that sets nothing itself: dates are spelled as settings say.
_READING = (
    "statement_timeout=0", "lock_timeout=0", "datestyle=ISO", "timezone=UTC", "standard_conforming_strings=on",
    "quote_all_identifiers=off",
)  # fmt: skip
#: What psql says where an attempt failed: no document.
_FAILED = "dr-failed"
_PSQL = ("-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse")
_CONNECT_SECONDS = 30

_TOLD = re.compile(r"\b(?:error|ERROR|fatal|FATAL|PANIC):|^\w+: detail:")
_PREFIX = re.compile(r"^(?:psql:<stdin>:\d+: |\w+: (?:error|detail|fatal): )+")
_LOST = re.compile(
    r"connection to server|could not connect|closed the connection|terminating connection|accepting connections"
    r"|database system is|SSL SYSCALL|lost connection|too many clients|no connection to the server"
)
_REFUSED = re.compile(r"authentication|password|pg_hba|does not exist|permission denied|not permitted|role .* cannot")
#: What a server says that does not let us in.
_LOGIN = re.compile(r"authentication failed|no password supplied|no pg_hba\.conf entry")
_SKEW = re.compile(r"server version: (\d+)[^;]*; \w+ version: (\d+)")


@dataclass(frozen=True, kw_only=True)
class Login:
    """How to reach a server. What is None is left to the programs: their environment, files and defaults."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    service: str | None = None
    passfile: Path | None = None
    password: SecretPlace | None = None
    bin: str | None = None

    @classmethod
    def declared(cls, source: PostgresSource) -> Login:
        """Return what a plan declares."""
        return cls(**{key: getattr(source, key) for key in cls.__dataclass_fields__})


class Server:
    """One server, reached from one host. `deadline`, a monotonic time, ends whatever still runs then."""

    def __init__(self, name: str, host: Host, login: Login, *, deadline: float | None = None) -> None:
        self.name, self.host, self.login = name, host, login
        self._deadline = deadline

    @cached_property
    def environment(self) -> dict[str, str]:
        """What the programs need to know and no argument may hold. Messages are asked for in English."""
        env = {"PGCONNECT_TIMEOUT": str(_CONNECT_SECONDS), "PGAPPNAME": "dr", "LC_ALL": "C"}
        if self.login.passfile:
            what, hint = why_no_file(self.login.passfile, "make it, with mode 0600") if self.host.here else ("", "")
            if what:
                raise SourceError(f"the password file {self.login.passfile} {what}", self.name, hint=hint)
            if self.host.here and self.login.passfile.stat().st_mode & 0o077:
                raise SourceError(
                    f"the password file {self.login.passfile} is open to others: PostgreSQL's programs ignore it",
                    self.name, hint=f"chmod 600 {self.login.passfile}",
                )  # fmt: skip
            env["PGPASSFILE"] = str(self.login.passfile)
        if self.login.password:
            env["PGPASSWORD"] = read_secret(self.login.password, self.name)
        return env

    def conninfo(self, database: str) -> str:
        """Return a connection string without secrets; any name of a database is safe in it."""
        parts = {
            "service": self.login.service, "host": self.login.host, "port": self.login.port,
            "user": self.login.user, "dbname": database,
        }  # fmt: skip
        return " ".join(f"{key}={_quoted(str(value))}" for key, value in parts.items() if value is not None)

    def start(
        self,
        program: str,
        *arguments: str,
        feed: bool = False,
        text: bool = False,
        more: dict[str, str] | None = None,
    ) -> Process:
        """Start one of PostgreSQL's programs; with `text` it speaks UTF-8. `more` is added to its environment.

        Raises `SourceError`.
        """
        with own_errors(self.name):
            env = self.environment | ({"PGCLIENTENCODING": "UTF8"} if text else {}) | (more or {})
            return self.host.start((self.program(program), *arguments), env=env, timeout=self.left(), feed=feed)

    def program(self, name: str) -> str:
        """Return how one of PostgreSQL's programs is called there."""
        return f"{self.login.bin}/{name}" if self.login.bin else name

    def loading(self, database: str) -> dict[str, str]:
        """Return the environment in which a dump is loaded so that no setting of the server changes it."""
        return self._settled(database, _LOADING)

    def reading(self, database: str) -> dict[str, str]:
        """Return the environment in which accounts are read so that no setting of the server changes them."""
        return self._settled(database, _READING)

    def _settled(self, database: str, settings: Sequence[str]) -> dict[str, str]:
        major = int(self.rows(database, "select to_json(current_setting('server_version_num'))")[0]) // 10_000
        more = (setting for since, setting in _LOADING_SINCE.items() if major >= since)
        own = os.environ.get("PGOPTIONS", "") if self.host.here else ""
        return {"PGOPTIONS": " ".join([own, *(f"-c {setting}" for setting in (*settings, *more))]).strip()}

    def psql(self, database: str, *more: str) -> Process:
        """Start a psql that takes SQL from its input and stops at the first error; its settings are `SETTLED`."""
        process = self.start("psql", *_PSQL, *more, "-d", self.conninfo(database), feed=True, text=True)
        with suppress(OSError):  # it has ended: its exit code and words say why
            process.write(SETTLED.encode())
        return process

    def rows(self, database: str, sql: str) -> list[Any]:
        """Return the JSON documents that statements give, one a row."""
        with Session(self, database) as session:
            return session.rows(sql)

    def execute(self, database: str, sql: str, *, doing: str) -> None:
        """Run statements; `SourceError` at the first that fails."""
        self._through(self.psql(database), sql, doing)

    def complaints(self, database: str, sql: str) -> list[str]:
        """Run statements, going on after errors; return what the server said to them."""
        with self.psql(database, "-v", "ON_ERROR_STOP=0") as process, own_errors(self.name):
            _drain(process, sql)
            done = process.finish()
        if done.code != 0:
            raise self.failure(done, "running statements")
        return told(done.stderr)

    def value(self, database: str, query: str, *, before: str = "") -> str | None:
        """Return the first column of a query's first row, as text; None when there is none. May not write."""
        fields = ("-F", _FIELD, "-R", _ROW, "-P", f"null={_NULL}")
        head = f"set default_transaction_read_only = on;\n{before}"
        out = self._through(self.psql(database, *fields), f"{head}{query}\n;\n", "the query failed")
        text = out.decode("utf-8", "surrogateescape").removesuffix("\n")
        first = text.split(_ROW, 1)[0].split(_FIELD, 1)[0]
        return None if first == _NULL or not out else first

    def failure(self, done: Done, doing: str) -> SourceError:
        """Return the error that a program's end means, in plain words."""
        command.raise_if_stopping()
        text = done.stderr.decode("utf-8", "replace")
        if skew := _SKEW.search(text):
            return SourceError(
                f"{doing}: {Path(done.argv[0]).name} {skew[2]} is older than the server, which is PostgreSQL {skew[1]}",
                self.name,
                hint=f"install the programs of PostgreSQL {skew[1]}, and name their directory as `bin`",
            )
        if "unsupported version" in text and "file header" in text:
            return SourceError(
                f"{doing}: the dump was written by newer programs than those here", self.name,
                hint="install the programs of PostgreSQL 17 or newer: the newest package postgresql-… there is",
            )  # fmt: skip
        why = "; ".join(told(done.stderr)[:2]) or done.last_words or _ending(done)
        lost = bool(_LOST.search(text)) and not _REFUSED.search(text)
        code = REFUSED if _LOGIN.search(why) else FAILED
        return SourceError(doing, self.name, why, hint=_hint(why, lost=lost), retryable=lost, exit_code=code)

    def _through(self, process: Process, sql: str, doing: str) -> bytes:
        with process, own_errors(self.name):
            out = _drain(process, sql)
            done = process.finish()
        if done.code != 0:
            raise self.failure(done, doing)
        return out

    def left(self) -> float | None:
        """Return the seconds until the deadline; `SourceError` when it has passed."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise SourceError("it took too long and was stopped", self.name, hint="raise its timeout")
        return left


class Session:
    """A psql that stays connected; a context that ends it. After an error it is of no more use."""

    def __init__(self, server: Server, database: str) -> None:
        self._server, self._database = server, database
        self._process = server.psql(database)
        self._held = b""

    def rows(self, sql: str) -> list[Any]:
        """Return the JSON documents that statements give, one a row; `SourceError` with what the server says."""
        return self._asked(f"{sql}\n;\n") or []

    def attempt(self, sql: str) -> list[Any] | None:
        """Return what statements give within a transaction; None, with the transaction as it was, when one fails."""
        # After each statement is seen whether it failed: those after it then give no rows.
        told = "".join(f"{each}\n;\n\\if :ERROR\n\\set dr_failed 1\n\\endif\n" for each in sql.split(";\n"))
        return self._asked(
            "savepoint dr_attempt;\n\\set ON_ERROR_STOP 0\n\\set dr_failed 0\n"
            f"{told}\\if :dr_failed\nrollback to savepoint dr_attempt;\n\\echo {_FAILED}\n\\endif\n"
            "\\set ON_ERROR_STOP 1\n"
        )

    def _asked(self, script: str) -> list[Any] | None:
        """Return the documents that a script gives; None where it says that it failed."""
        mark = secrets.token_hex(8).encode()
        try:
            self._process.write(script.encode("utf-8", "surrogateescape") + b"\\echo " + mark + b"\n")
        except OSError:
            self._ended()
        lines, failed = [], False
        while (line := self._line()) != mark:
            if line == _FAILED.encode():
                failed = True
            else:
                lines.append(json.loads(line.decode("utf-8", "surrogateescape")))
        return None if failed else lines

    def kill(self) -> None:
        """End it at once; who waits for its answer gets an error. Safe in another thread."""
        self._process.kill()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.end_input()

    def _line(self) -> bytes:
        while b"\n" not in self._held:
            with own_errors(self._server.name):
                block = self._process.read()
            if not block:
                self._ended()
            self._held += block
        line, _, self._held = self._held.partition(b"\n")
        return line

    def _ended(self) -> None:
        with own_errors(self._server.name):
            done = self._process.finish()
        raise self._server.failure(done, f"the database {self._database} could not be asked")


def identifier(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL takes it, whatever the server's settings."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f" E{quoted}" if "\\" in text else quoted


def told(stderr: bytes) -> list[str]:
    """Return the errors among what a program said: one line each, without the rows and statements concerned."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
    found = [_PREFIX.sub("", line) for line in lines if _TOLD.search(line) and " was:" not in line]
    return ["".join(c if c.isprintable() else "?" for c in line)[:300] for line in found]


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _drain(process: Process, sql: str) -> bytes:
    """Feed statements and read all that comes. Statements are small: a psql that does not read yet holds them."""
    try:
        process.write(sql.encode("utf-8", "surrogateescape"))
        process.end_input()
    except OSError:
        pass  # it has ended: its exit code and words say why
    parts: list[bytes] = []
    while block := process.read():
        parts.append(block)
    return b"".join(parts)


def _ending(done: Done) -> str:
    return f"exit code {done.code}" if done.code >= 0 else f"signal {-done.code}"


def _hint(why: str, *, lost: bool) -> str:
    hints: Sequence[tuple[str, str]] = (
        ("Peer authentication", "map this user in pg_ident.conf, or declare `user` and a password"),
        ("password authentication failed", "correct the password that the plan names: the server does not take it"),
        ("password", "name the password by `password`, `passfile` or `service`"),
        ("pg_hba", "let this host in by the server's pg_hba.conf"),
        ("does not exist", "correct the name in the plan"),
        ("permission denied", "give its user the right to read it: GRANT pg_read_all_data TO …"),
        ("row-level security", "let a user with BYPASSRLS make the copy"),
    )
    if lost:
        return "see whether the server runs and can be reached"
    return next((hint for word, hint in hints if word in why), "run the same by hand with psql and see")
