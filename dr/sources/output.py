"""The source `command`: what a command writes to its standard output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import DrError, InterruptedRunError, SourceError
from dr.plan.source import CommandSource
from dr.sources.door import Doors, Stream
from dr.tools import command

_SECRET_PREFIXES = ("AWS_", "RESTIC_", "DR_")


class Output(Doors):
    """A command's output. Nothing is stored unless the command ends well and has written something."""

    kind = "command"

    def __init__(self, name: str, declared: CommandSource) -> None:
        super().__init__(name)
        self._declared = declared

    def capture(self, work: Path, reuse: Path | None) -> Stream:
        """See `Doors`."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(_SECRET_PREFIXES)}
        try:
            running = command.stream(self._declared.run, env=env, cwd=work, timeout=self._declared.timeout)
        except InterruptedRunError:
            raise
        except DrError as error:
            raise SourceError(error.what, self.name, error.cause, hint=error.hint) from error
        return _Running(self.name, self._declared.filename, running)


class _Running(Stream):
    """The command while it runs."""

    def __init__(self, name: str, filename: str, running: command.Running) -> None:
        self.filename = filename
        self.started = datetime.now(UTC)
        self._name, self._running = name, running

    def chunks(self) -> Iterator[bytes]:
        """See `Stream`. An empty output is a failed export, as a rule, and refused."""
        size = 0
        try:
            while block := self._running.read():
                size += len(block)
                yield block
            done = self._running.finish()
        except command.TimeoutExpiredError as error:
            raise SourceError(error.what, self._name, hint=error.hint) from error
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
