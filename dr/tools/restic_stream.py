"""A snapshot of bytes that we pump into restic ourselves: whole, or not there."""

from __future__ import annotations

import os
import secrets
import select
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from dr.errors import DrError
from dr.tools import command
from dr.tools.restic_events import Events, Stored, failure, stored_of
from dr.tools.restic_room import Room, Standstill
from dr.tools.restic_tries import Tries

#: Ends with success only when the marker file says that the source succeeded: else no snapshot.
#: It opens the pipe both ways first: a reader alone would wait for ever when we had died before it came.
_GUARD = 'test -p "$1" && exec 3<>"$1" 4<"$1" 3<&- && cat <&4; test -e "$2"'


class StreamBackup:
    """A snapshot in the making, of bytes that the caller writes.

    restic reads a named pipe through a guard that succeeds only when `commit` was called. So whatever
    else happens (the source fails, we are killed, the pipe breaks) there is no snapshot. `argv` is restic's command
    line up to the command that it is to read. `left` gets why it left its lock there, if it did.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        where: str,
        work: Path,
        room: Room,
        left: set[str],
    ) -> None:
        self._where, self._left = where, left
        token = secrets.token_hex(6)
        self._pipe, self._okay = work / f"pipe-{token}", work / f"okay-{token}"
        os.mkfifo(self._pipe, 0o600)
        guard = ["--", "sh", "-c", _GUARD, "guard", str(self._pipe), str(self._okay)]
        self._fd: int | None = _write_end(self._pipe)
        try:
            self._running = command.Running([*argv, *guard], env=env, death="INT", heed=Tries(where))
        except BaseException:
            self._close()
            raise
        self._met, self._steps = False, 0
        self._still = Standstill(room, lambda: str(self._steps), self._running.kill)

    def write(self, data: bytes) -> None:
        """Hand over bytes; raises what ails restic when it has ended early."""
        fd = self._meet()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(fd, view) :]
                self._steps += 1
        except BrokenPipeError:
            self._give_up()

    def commit(self) -> Stored:
        """Say that the source succeeded, and wait for the snapshot."""
        self.write(b"")
        self._okay.touch()
        self._close()
        events = Events()
        with self._running as running:
            for line in running.stdout:
                events.feed(line.decode("utf-8", "replace"))
            done = running.finish()
        events.feed_all(done.stderr)
        self._left.update(events.locks_left)
        self._tidy()
        if done.code != 0 or "snapshot_id" not in events.summary:
            raise self._still.error or failure(done.code or 1, events, where=self._where, doing="the backup")
        return stored_of(events)

    def abort(self) -> None:
        """End without a snapshot. May be called at any time, and twice."""
        self._close()
        with self._running as running:
            if not running.ended():
                running.interrupt()
                running.stdout.read()
                running.finish()
        self._tidy()

    def _meet(self) -> int:
        """Return the pipe once restic's side is there; give up when restic has ended instead.

        `abort` may be called meanwhile, by another thread: it then ends restic by itself.
        """
        asked = select.poll()
        while (fd := self._fd) is not None:
            if not self._met:
                asked.register(fd, 0)
                self._met = not asked.poll(0)  # a pipe without a reader is in error
            if self._met:
                return fd
            if self._running.ended() and self._fd is not None:
                self._give_up()
            time.sleep(0.01)
        raise DrError("the backup was given up", self._where, hint="run the backup again")

    def _give_up(self) -> NoReturn:
        """Raise what ails restic."""
        self._close()
        events = Events()
        with self._running as running:
            running.interrupt()
            events.feed_all(running.stdout.read())
            done = running.finish()
        events.feed_all(done.stderr)
        self._tidy()
        raise self._still.error or failure(done.code or 1, events, where=self._where, doing="the backup")

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _tidy(self) -> None:
        self._still.stop()
        self._pipe.unlink(missing_ok=True)
        self._okay.unlink(missing_ok=True)


def _write_end(pipe: Path) -> int:
    """Open a pipe for writing before anybody reads it.

    However we die, whoever reads then finds its end: a guard that opened it after we are gone would wait for ever.
    """
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.open(pipe, os.O_WRONLY)
    finally:
        os.close(reader)
