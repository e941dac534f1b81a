"""A stream that a system's own host stores by its own restic: a dump's bytes do not pass through this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from dr.evidence import manifest
from dr.sources.driver import MANIFEST, AgentCapture, RestoredSource, RestoreSlot, Sent, SourceDriver
from dr.sources.own_errors import blame
from dr.sources.tables import Beside
from dr.tools.agent import Agent
from dr.tools.restic import Repository


class Piped(SourceDriver):
    """What a program on the agent's host writes. `inner` are its doors as a stream: they bring it back."""

    def __init__(
        self, inner: SourceDriver, agent: Agent, argv: Sequence[str], *, filename: str, timeout: float
    ) -> None:
        super().__init__(inner.name)
        self.kind = inner.kind
        self._inner, self._agent = inner, agent
        self._argv, self._filename, self._timeout = tuple(argv), filename, timeout

    def capture(self, work: Path, reuse: Path | None) -> AgentCapture:
        """See `SourceDriver`."""
        return _SentOutput(self, work / MANIFEST)

    def send(self, repository: Repository, tags: Mapping[str, str], path: Path) -> Sent:
        """Let the program run, its output go to the repository, and write the manifest to `path`."""
        started = datetime.now(UTC)
        with blame(self.name):
            done = self._agent.backup_command(
                repository, self._argv, filename=self._filename, tags=tags, timeout=self._timeout
            )
        manifest.write_stream(
            path, source=self.name, kind=self.kind, started=started, filename=self._filename,
            size=done.bytes, sha256=done.sha256,
        )  # fmt: skip
        return Sent(stored=done.stored, files=1, bytes=done.bytes)

    def restored(self, room: RestoreSlot) -> RestoredSource:
        """See `SourceDriver`."""
        return self._inner.restored(room)

    def beside(self) -> Beside:
        """See `SourceDriver`."""
        return self._inner.beside()

    @property
    def host(self) -> str:
        """The host in words."""
        return self._agent.host.name


class _SentOutput(AgentCapture):
    def __init__(self, doors: Piped, path: Path) -> None:
        self.host = doors.host
        self._doors, self._path = doors, path

    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        """See `AgentCapture`."""
        return self._doors.send(repository, tags, self._path)
