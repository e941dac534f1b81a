"""From what a plan declares to the driver of that kind.

`DRIVERS` has what each kind does; the kinds themselves are declared in `dr.plan.source_kinds`. docs/extending.md walks
through one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dr.late_dataclass import dataclass
from dr.plan.source import Source
from dr.plan.source_kinds import CommandSource, FilesSource, MysqlSource, PostgresSource, SourceBody, SqliteSource
from dr.sources.driver import SourceDriver
from dr.sources.files import Files
from dr.sources.output import Output
from dr.sources.sqlite import Sqlite
from dr.tools.host import Host, ThisHost

if TYPE_CHECKING:
    from dr.tools.agent import Agent


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What the driver of one source is to know. `scratch` are this program's own places, never captured.

    `agent` is restic on the host, where the plan wants it to store from there (`mode: agent`). `questions` are a
    plan's queries (database, query) whose answers are wanted as of the capture.
    """

    name: str
    body: SourceBody
    host: Host
    agent: Agent | None = None
    scratch: Sequence[Path] = ()
    questions: Sequence[tuple[str | None, str]] = ()


def _files(ask: Ask) -> SourceDriver:
    declared = cast("FilesSource", ask.body)
    if ask.host.here:
        return Files(ask.name, declared, scratch=ask.scratch)
    if ask.agent:
        from dr.sources.agent import AgentFiles

        return AgentFiles(ask.name, declared, ask.agent)
    from dr.sources.remote_files import RemoteFiles

    return RemoteFiles(ask.name, declared, ask.host)  # type: ignore[arg-type]


def _sqlite(ask: Ask) -> SourceDriver:
    declared = cast("SqliteSource", ask.body)
    if ask.host.here:
        return Sqlite(ask.name, declared)
    from dr.sources.remote_sqlite import TIMEOUT_SECONDS, RemoteSqlite, copying

    doors = RemoteSqlite(ask.name, declared, host=ask.host)
    return _piped(doors, ask.agent, *copying(declared.path), timeout=TIMEOUT_SECONDS)


def _command(ask: Ask) -> SourceDriver:
    declared = cast("CommandSource", ask.body)
    doors = Output(ask.name, declared, host=ask.host)
    return _piped(doors, ask.agent, declared.run, declared.filename, timeout=declared.timeout)


def _piped(
    doors: SourceDriver, agent: Agent | None, argv: Sequence[str], filename: str, *, timeout: float
) -> SourceDriver:
    """Return the doors of a command's output, stored from its host where an agent is there."""
    if agent is None:
        return doors
    from dr.sources.agent_stream import Piped

    return Piped(doors, agent, argv, filename=filename, timeout=timeout)


def _postgres(ask: Ask) -> SourceDriver:
    from dr.sources.postgres.driver import Postgres

    declared = cast("PostgresSource", ask.body)
    return Postgres(ask.name, declared, host=ask.host, agent=ask.agent, questions=ask.questions)


def _mysql(ask: Ask) -> SourceDriver:
    from dr.sources.mysql.driver import Mysql

    declared = cast("MysqlSource", ask.body)
    return Mysql(ask.name, declared, host=ask.host, agent=ask.agent, questions=ask.questions)


#: What makes the driver of each kind.
DRIVERS: dict[type[SourceBody], Callable[[Ask], SourceDriver]] = {
    FilesSource: _files,
    SqliteSource: _sqlite,
    CommandSource: _command,
    PostgresSource: _postgres,
    MysqlSource: _mysql,
}


def open_source(
    name: str,
    declared: Source,
    *,
    host: Host | None = None,
    agent: Agent | None = None,
    scratch: Sequence[Path] = (),
    questions: Sequence[tuple[str | None, str]] = (),
) -> SourceDriver:
    """Return the driver of a declared source, on this host or another. Nothing is touched yet."""
    where = host or ThisHost()
    ask = Ask(name=name, body=declared.body, host=where, agent=agent, scratch=scratch, questions=questions)
    return DRIVERS[type(declared.body)](ask)
