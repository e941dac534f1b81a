"""The source `command`: what a command writes to its standard output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import SourceError
from dr.plan.source_kinds import CommandSource
from dr.sources.driver import SourceDriver, Stream
from dr.sources.own_errors import own_errors
from dr.tools import command
from dr.tools.host import Host, Process, ThisHost


class Output(SourceDriver):
    """A command's output. Nothing is stored unless the command ends well and has written something."""

    kind = "command"

    def __init__(self, name: str, declared: CommandSource, *, host: Host | None = None) -> None:
        super().__init__(name)
        self._declared, self._host = declared, host or ThisHost()

    def capture(self, work: Path, reuse: Path | None) -> Stream:
        """See `SourceDriver`."""
        declared, cwd = self._declared, str(work) if self._host.here else None
        return output_of(self.name, self._host, declared.run, declared.filename, cwd=cwd, timeout=declared.timeout)


def output_of(
    name: str, host: Host, argv: Sequence[str], filename: str, *, cwd: str | None = None, timeout: float
) -> Stream:
    """Begin to capture what a program on a host writes, as the file `filename` of the source `name`."""
    with own_errors(name):
        return _Output(name, filename, host.start(argv, cwd=cwd, timeout=timeout))


class _Output(Stream):
    """The program while it runs."""

    def __init__(self, name: str, filename: str, running: Process) -> None:
        self.filename = filename
        self.started = datetime.now(UTC)
        self._name, self._running = name, running

    def chunks(self) -> Iterator[bytes]:
        """See `Stream`. An empty output is a failed export, as a rule, and refused."""
        size = 0
        with own_errors(self._name):
            while block := self._running.read():
                size += len(block)
                yield block
            done = self._running.finish()
        command.raise_if_stopping()
        if done.code != 0:
            how = f"exit code {done.code}" if done.code > 0 else f"signal {-done.code}"
            raise SourceError(
                f"the command failed with {how}", self._name, done.last_words, hint="run it by hand and see"
            )
        if size == 0:
            raise SourceError("the command wrote nothing", self._name, hint="run it by hand and see")

    def close(self) -> None:
        """See `Stream`."""
        with self._running:
            pass
