"""A stored dump into a server, through its client program; and queries on what was restored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from dr.errors import SourceError
from dr.late_dataclass import dataclass
from dr.sources import several
from dr.sources.mysql.connection import QUERY_SECONDS, Server, complaint, quoted
from dr.sources.mysql.inventory import first_value
from dr.sources.mysql.session import Session
from dr.sources.mysql.split_dump import (
    SEVERAL,
    SEVERAL_WHOLE,
    cut,
    cut_one,
    database_of,
    holds_views,
    is_whole,
    parts_of,
)
from dr.sources.own_errors import own_errors
from dr.tools import command
from dr.tools.host import Host, script

#: Seconds that a restore may take.
RESTORE_SECONDS = 7 * 24 * 3600
_LOCK_WAIT = 60

#: A client prints what a statement shows; nothing is to be read there.
_MUTE = 'exec "$@" >/dev/null'


@dataclass(frozen=True)
class Part:
    """A part of a stored stream: one database's tables and code, or its `views`, which come after all the others."""

    database: str
    views: bool
    content: Iterable[bytes]


def parts(filename: str, chunks: Iterable[bytes], databases: Sequence[str], where: str) -> Iterator[Part]:
    """Yield the parts of a stored stream of `databases`, each to be read before the next."""
    if filename in (SEVERAL, SEVERAL_WHOLE):
        files = several.unpack(chunks) if filename == SEVERAL else cut(chunks, databases, where)
        yield from (Part(database_of(name), holds_views(name), content) for name, content in files)
        return
    database = database_of(filename)
    content = cut_one(chunks, database, where) if is_whole(filename) else chunks
    yield from (Part(database, views, part) for views, part in parts_of(content, where))


def load(
    server: Server,
    database: str,
    blocks: Iterable[bytes],
    *,
    log_bin: bool,
    to_the_end: bool = False,
    known_as: str = "",
) -> None:
    """Pour one file into a database that exists. Raises `SourceError` with what the server says.

    `known_as`: its name in messages, if it is another meanwhile.
    `to_the_end`: what fails is passed over, and said when all the rest is done.
    """
    setting = f"SET SESSION foreign_key_checks = 0, unique_checks = 0, lock_wait_timeout = {_LOCK_WAIT}"
    setting += "" if log_bin else ", sql_log_bin = 0"
    options = ("--binary-mode", "--batch", f"--init-command={setting}", *(["--force"] if to_the_end else []))
    argv = ["sh", "-c", _MUTE, "sh", *server.client_argv(*options, f"--database={database}")]
    with own_errors(server.where):
        process = server.host.start(argv, env=server.env, timeout=RESTORE_SECONDS, feed=True)
    with process:
        for block in blocks:
            try:
                process.write(block)
            except OSError:
                break  # it has ended: `finish` says why
        process.end_input()
        with own_errors(server.where):
            done = process.finish()
    command.raise_if_stopping()
    said = done.stderr.decode("utf-8", "replace")
    if done.code != 0 or (to_the_end and "ERROR" in said):
        raise complaint(f"the database {known_as or database} could not be restored", server.where, said)


def create(session: Session, database: str) -> None:
    """Make a database; its character set comes with its dump."""
    session.rows(f"CREATE DATABASE {quoted(database)}")


def drop(session: Session, database: str) -> None:
    """Remove a database, if it is there, also when another one's foreign keys point into it."""
    session.do("SET SESSION foreign_key_checks = 0")
    session.rows(f"DROP DATABASE IF EXISTS {quoted(database)}")


def ask(server: Server, database: str, query: str) -> str | None:
    """Return the first value of a query that may not write and may not take for ever."""
    with reading(server, database) as session:
        try:
            return first_value(session.rows(query))
        except SourceError as error:
            error.what = "the query failed"
            error.hint = "correct the query, or see whether the database is whole"
            raise


@contextmanager
def reading(server: Server, database: str | None = None) -> Iterator[Session]:
    """Hold a connection that cannot write."""
    with Session(server, timeout=2 * QUERY_SECONDS, database=database, statement_seconds=QUERY_SECONDS) as session:
        session.do("SET SESSION TRANSACTION READ ONLY")
        session.do("START TRANSACTION READ ONLY")
        yield session


def client_home(place: Path, *, socket: str | None, user: str | None, host: Host | None = None) -> str:
    """Return a directory for `MYSQL_HOME`, with what a client needs to come to this server; `host` None: here.

    Its file is read after the machine's own, which may name another server's socket, and so win over
    `MYSQL_UNIX_PORT`. It holds no password.
    """
    lines = [f"{key}={value}\n" for key, value in (("socket", socket), ("user", user)) if value]
    text, path = "".join(["[client]\n", *lines]), place / "my.cnf"
    if host is None or host.here:
        path.write_text(text, "utf-8")
    elif (done := host.run(script('cat >"$1";', str(path)), stdin=text.encode())).code != 0:
        raise SourceError(f"{path} cannot be written on {host.name}", cause=done.last_words, hint="see its disk")
    return str(place)


def url(parts: Mapping[str, str], database: str) -> str:
    """Return the address of a database as programs know it, without a password."""
    place = parts.get("host", "localhost") + (f":{parts['port']}" if parts.get("port") else "")
    tail = f"?unix_socket={quote(parts['socket'])}" if parts.get("socket") else ""
    user = f"{quote(parts['user'], safe='')}@" if parts.get("user") else ""
    return f"mysql://{user}{place}/{quote(database, safe='')}{tail}"
