"""One connection to a server, held by its client program: statements in, rows out.

The client answers in XML, which tells NULL from 'NULL' and survives any text. Queries from a plan go as a
prepared statement, in hex: whatever they hold, they are one statement, and no command of the client.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from dr.errors import SourceError
from dr.sources.mysql.connection import Server, complaint
from dr.sources.own_errors import own_errors
from dr.tools import command

Row = tuple[str | None, ...]

#: Standard error among the answers: there it stands beside the statement that failed.
_MERGED = 'exec "$@" 2>&1'
_RESULT = re.compile(rb"<resultset statement=.*?</resultset>", re.DOTALL)
_ROW = re.compile(rb"<row>(.*?)</row>", re.DOTALL)
_FIELD = re.compile(rb'<field name="[^"]*"(?: xsi:nil="true" />|>(.*?)</field>)', re.DOTALL)
_FAILED = re.compile(rb"^ERROR \d+.*$", re.MULTILINE)
_ENTITIES = ((b"&lt;", b"<"), (b"&gt;", b">"), (b"&quot;", b'"'), (b"&amp;", b"&"))
#: Statements sent at once: few enough that neither side's pipe fills while the other waits.
_TOGETHER = 40


class Session:
    """A connection, until `close`. For one thread at a time.

    `timeout` in seconds is for its whole life; `statement_seconds` for each statement, where the server can.
    Times are in UTC. Raises `SourceError`, retryable when the connection was lost.
    """

    def __init__(
        self, server: Server, *, timeout: float, database: str | None = None, statement_seconds: float = 0
    ) -> None:
        self._server, self._where = server, server.where
        options = ("--no-auto-rehash", "--skip-reconnect", "--batch", "--force", "--xml", "--unbuffered")
        chosen = (f"--database={database}",) if database is not None else ()
        argv = server.client_argv(*options, *chosen)
        with own_errors(self._where):
            self._process = server.host.start(
                ["sh", "-c", _MERGED, "sh", *argv], env=server.env, timeout=timeout, feed=True
            )
        try:
            self._settle(statement_seconds)
        except BaseException:
            self.close()
            raise

    def do(self, statement: str) -> None:
        """Carry out a statement of our own, word by word as it stands."""
        self._ask(f"{statement};\n")

    def rows(self, query: str) -> list[Row]:
        """Return the rows of the first result of one statement, whoever wrote it."""
        found = self._ask(_prepared(query))
        return _rows(found[0]) if found else []

    def each(self, queries: Iterable[str], *, releasing: bool = False) -> Iterator[list[Row] | SourceError]:
        """Yield for each of several short statements its rows, or why it failed; quicker than one by one.

        `releasing`: within a transaction, let go of each table after its statement, so that nobody who wants to
        change its definition waits for the transaction's end.
        """
        form = "SAVEPOINT dr;\n{}ROLLBACK TO SAVEPOINT dr;\n" if releasing else "{}"
        waiting = list(queries)
        while waiting:
            now, waiting = waiting[:_TOGETHER], waiting[_TOGETHER:]
            yield from self._several([form.format(_prepared(query)) for query in now])

    def close(self) -> None:
        """End the connection. May be called twice."""
        with self._process:
            self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settle(self, statement_seconds: float) -> None:
        self.do("SET NAMES utf8mb4")
        self.do("SET SESSION time_zone = '+00:00', SESSION wait_timeout = 86400")
        if statement_seconds:
            self.do(f"/*M!100101 SET SESSION max_statement_time = {statement_seconds:.0f} */")
            self.do(f"/*!50708 SET SESSION max_execution_time = {statement_seconds * 1000:.0f} */")

    def _several(self, statements: list[str]) -> Iterator[list[Row] | SourceError]:
        end = secrets.token_hex(8)
        self._send("".join(f"{statement}{_mark(f'{end}-{n}')}" for n, statement in enumerate(statements)))
        rest = b""
        for n in range(len(statements)):
            answer, rest = self._until(f"{end}-{n}".encode(), rest)
            yield _first(answer, self._where)

    def _ask(self, statements: str) -> list[bytes]:
        """Send statements and return their results; raises what the first that failed says."""
        end = secrets.token_hex(8)
        self._send(statements + _mark(end))
        answer, _ = self._until(end.encode(), b"")
        results = _RESULT.findall(answer)
        if failed := _FAILED.search(_RESULT.sub(b"", answer)):
            raise complaint("a statement failed", self._where, failed[0].decode("utf-8", "replace"))
        return results

    def _send(self, text: str) -> None:
        try:
            self._process.write(text.encode("utf-8", "surrogateescape"))
        except OSError:
            self._lost(b"")

    def _until(self, mark: bytes, held: bytes) -> tuple[bytes, bytes]:
        """Return what came before the answer that marks the end, and what came after it."""
        end = b'<field name="dr_end">' + mark + b"</field>\n  </row>\n</resultset>\n"
        answer = bytearray(held)
        looked = 0
        while (at := answer.find(end, looked)) < 0:
            looked = max(0, len(answer) - len(end))
            block = self._process.read()
            if not block:
                self._lost(bytes(answer))
            answer += block
        begin = answer.rfind(b"<?xml", 0, at)
        return bytes(answer[:begin]), bytes(answer[at + len(end) :])

    def _lost(self, said: bytes) -> None:
        """Raise why the client has ended."""
        while block := self._process.read():
            said += block
        with own_errors(self._where):
            self._process.finish()
        command.raise_if_stopping()
        failed = _FAILED.findall(_RESULT.sub(b"", said))
        text = (failed[-1] if failed else said[-300:]).decode("utf-8", "replace")
        error = complaint("the server cannot be reached, or the connection was lost", self._where, text)
        error.retryable = error.retryable or not failed
        raise error


def _prepared(query: str) -> str:
    body = query.strip().rstrip(";").encode("utf-8", "surrogateescape").hex()
    return f"SET @dr = CONVERT(0x{body} USING utf8mb4);\nPREPARE dr FROM @dr;\nEXECUTE dr;\nDEALLOCATE PREPARE dr;\n"


def _mark(end: str) -> str:
    return f"SELECT '{end}' AS dr_end;\n"


def _first(answer: bytes, where: str) -> list[Row] | SourceError:
    if failed := _FAILED.search(_RESULT.sub(b"", answer)):
        return complaint("a statement failed", where, failed[0].decode("utf-8", "replace"))
    results = _RESULT.findall(answer)
    return _rows(results[0]) if results else []


def _rows(result: bytes) -> list[Row]:
    return [tuple(_value(field) for field in _FIELD.finditer(row)) for row in _ROW.findall(result)]


def _value(found: re.Match[bytes]) -> str | None:
    value: bytes | None = found[1]
    if value is None:
        return None
    if b"&" in value:
        for entity, plain in _ENTITIES:
            value = value.replace(entity, plain)
    return value.decode("utf-8", "surrogateescape")
