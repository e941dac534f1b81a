"""From what a plan declares to the doors of that kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dr.plan.source import Source
from dr.sources.driver import SourceDriver
from dr.sources.files import Files
from dr.sources.output import Output
from dr.sources.sqlite import Sqlite
from dr.tools.host import Host, ThisHost

if TYPE_CHECKING:
    from dr.tools.agent import Agent


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What the doors of one source are to know. `scratch` are this program's own places, never captured.

    `agent` is restic on the host, where the plan wants it to store from there (`mode: agent`). `questions` are a
    plan's queries (database, query) whose answers are wanted as of the capture.
    """

    name: str
    declared: Source
    host: Host
    agent: Agent | None = None
    scratch: Sequence[Path] = ()
    questions: Sequence[tuple[str | None, str]] = ()


def _files(ask: Ask) -> SourceDriver:
    assert ask.declared.files is not None  # noqa: S101 - chosen by kind
    if ask.host.here:
        return Files(ask.name, ask.declared.files, scratch=ask.scratch)
    if ask.agent:
        from dr.sources.agent import AgentFiles

        return AgentFiles(ask.name, ask.declared.files, ask.agent)
    from dr.sources.remote_files import RemoteFiles

    return RemoteFiles(ask.name, ask.declared.files, ask.host)  # type: ignore[arg-type]


def _sqlite(ask: Ask) -> SourceDriver:
    assert ask.declared.sqlite is not None  # noqa: S101 - chosen by kind
    if ask.host.here:
        return Sqlite(ask.name, ask.declared.sqlite)
    from dr.sources.remote_sqlite import TIMEOUT_SECONDS, RemoteSqlite, copying

    doors = RemoteSqlite(ask.name, ask.declared.sqlite, host=ask.host)
    return _piped(doors, ask.agent, *copying(ask.declared.sqlite.path), timeout=TIMEOUT_SECONDS)


def _command(ask: Ask) -> SourceDriver:
    assert ask.declared.command is not None  # noqa: S101 - chosen by kind
    doors, declared = Output(ask.name, ask.declared.command, host=ask.host), ask.declared.command
    return _piped(doors, ask.agent, declared.run, declared.filename, timeout=declared.timeout)


def _piped(
    doors: SourceDriver, agent: Agent | None, argv: Sequence[str], filename: str, *, timeout: float
) -> SourceDriver:
    """Return the doors of a command's output, stored from its host where an agent is there."""
    if agent is None:
        return doors
    from dr.sources.agent import Piped

    return Piped(doors, agent, argv, filename=filename, timeout=timeout)


def _postgres(ask: Ask) -> SourceDriver:
    from dr.sources.postgres.driver import Postgres

    assert ask.declared.postgres is not None  # noqa: S101 - chosen by kind
    return Postgres(ask.name, ask.declared.postgres, host=ask.host, agent=ask.agent, questions=ask.questions)


def _mysql(ask: Ask) -> SourceDriver:
    from dr.sources.mysql.driver import Mysql

    assert ask.declared.mysql is not None  # noqa: S101 - chosen by kind
    return Mysql(ask.name, ask.declared.mysql, host=ask.host, agent=ask.agent, questions=ask.questions)


_MAKERS: dict[str, Callable[[Ask], SourceDriver]] = {
    "files": _files, "sqlite": _sqlite, "command": _command, "postgres": _postgres, "mysql": _mysql
}  # fmt: skip


def open_source(
    name: str,
    declared: Source,
    *,
    host: Host | None = None,
    agent: Agent | None = None,
    scratch: Sequence[Path] = (),
    questions: Sequence[tuple[str | None, str]] = (),
) -> SourceDriver:
    """Return the doors of a declared source, on this host or another. Nothing is touched yet."""
    where = host or ThisHost()
    ask = Ask(name=name, declared=declared, host=where, agent=agent, scratch=scratch, questions=questions)
    return _MAKERS[declared.kind](ask)
