"""A program on another host, as it is started there, fed, watched and ended. Needs a POSIX shell there, no more."""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from paramiko import Channel

from dr.errors import DrError, InterruptedRunError
from dr.tools.command import Done, ProgramMissingError, TimeoutExpiredError
from dr.tools.ssh_line import GONE, POLL_SECONDS, HostDownError, Line, lost
from dr.tools.ssh_shell import environment_lines, remote_command

_GRACE_SECONDS = 1.0  # for the guard; then the processes are killed by their number, through a channel of its own
_GIVE_UP_SECONDS = 6.0
_LAST_WORDS_SECONDS = 5.0
_START_SECONDS = 30.0  # for a shell to start on a busy host
_KEPT = 1 << 20  # bytes of stderr remembered
_BLOCK = 1 << 20
_GREETING = 64 << 10  # what a shell's start-up files may say before the program begins


class SshProcess:
    """A program on another host; see `dr.tools.host.Process`.

    `kill_group` ends a process group there by its number; `over` is called once, when the program has ended. `heed` is
    given each line of its standard error; when that returns True it is killed.
    """

    def __init__(
        self,
        line: Line,
        argv: Sequence[str],
        *,
        timeout: float | None,
        kill_group: Callable[[int], None],
        over: Callable[[], None],
        heed: Callable[[str], bool] | None = None,
    ) -> None:
        self.argv, self._heed, self._begun = tuple(argv), heed, b""
        self._line, self._kill_group, self._on_end = line, kill_group, over
        self._timeout = timeout
        self._began = time.monotonic()
        self._errors = bytearray()
        self._killed_at: float | None = None
        self._group = 0
        self._first = b""
        self._fed = self._given_up = False
        self._expired, self._over = threading.Event(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="dr-ssh-watch", daemon=True)

    def begin(self, env: Mapping[str, str], cwd: str | None, *, feed: bool) -> Self:
        """Start it, and return this. Raises `DrError` when that cannot be; the program does not run then."""
        mark = f"dr-{secrets.token_hex(8)}"
        self._fed = feed
        self._watcher.start()
        try:
            there, first = remote_command(mark, self.argv, cwd, feed=feed), environment_lines(env)
            self._line.channel.exec_command(os.fsencode(there))
            with suppress(BrokenPipeError):  # it has ended already: what it said, or that it said nothing, is read next
                self._line.write(first)
            self._group = self._await(mark, cwd)
        except BaseException as error:
            self._line.close()
            if self._expired.is_set() and not isinstance(error, InterruptedRunError):
                raise self._too_long() from None
            if isinstance(error, GONE):
                raise lost(self._line.channel, self._line.host) from error
            raise
        return self

    def _await(self, mark: str, cwd: str | None) -> int:
        """Read up to our mark, past whatever the shell's start-up files say; return the number of the group."""
        found, seen, deadline = None, b"", time.monotonic() + _START_SECONDS
        pattern = re.compile(rb"(?:^|\n)" + mark.encode() + rb" (\w+) ?(\d*)\n")
        while not (found := pattern.search(seen)):
            try:
                block = self._line.channel.recv(4096)
            except TimeoutError:
                self._line.heed_stop()
                if self._expired.is_set():
                    raise self._too_long() from None
                if time.monotonic() < deadline:
                    continue
                raise HostDownError(
                    f"{self._line.host} does not start the program",
                    cause="it takes too long",
                    hint="see whether that host is overloaded",
                ) from None
            if not block or len(seen) > _GREETING:
                raise self._no_shell(seen)
            seen += block
        self._first = seen[found.end() :]
        if found[1] != b"ready":
            raise self._not_started(found[1].decode("ascii", "replace"), cwd)
        return int(found[2])

    def _no_shell(self, seen: bytes) -> DrError:
        if not self._line.channel.eof_received:
            return lost(self._line.channel, self._line.host)
        self._over.wait(_GRACE_SECONDS)
        words = Done(self.argv, 1, stderr=bytes(self._errors) or seen).last_words
        return DrError(
            f"{self._line.host} does not run commands", cause=words, hint="give its user a POSIX shell such as /bin/sh"
        )

    def _not_started(self, what: str, cwd: str | None) -> DrError:
        host = self._line.host
        if what == "directory":
            return DrError(f"{host} has no directory {cwd}, or does not let us in", hint="correct the path")
        if what == "dd":
            return DrError(
                f"{host} has no dd that knows iflag=fullblock, so nothing can be fed to a program there",
                hint="install GNU coreutils there",
            )
        return ProgramMissingError(
            f"the program {self.argv[0]!r} is not on {host}, or is not executable",
            hint="install it there, or correct its name or path",
        )

    # -- Process -------------------------------------------------------------------------------------------

    def read(self, size: int = 1 << 20) -> bytes:
        """See `Process`."""
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
            return data
        return self._line.read(size)

    def write(self, data: bytes) -> None:
        """See `Process`."""
        view = memoryview(data)
        for start in range(0, len(view), _BLOCK):
            block = view[start : start + _BLOCK]
            self._line.write(b"%d\n" % len(block) + block)

    def end_input(self) -> None:
        """See `Process`."""
        if self._fed:
            self._fed = False
            with suppress(BrokenPipeError):
                self._line.write(b"end\n")

    def ended(self) -> bool:
        """See `Process`."""
        return self._over.is_set() or self._line.channel.exit_status_ready()

    def kill(self) -> None:
        """See `Process`."""
        if self._killed_at is None:
            self._killed_at = time.monotonic()
            self._line.hang_up()

    def finish(self) -> Done:
        """See `Process`."""
        while not self._over.wait(POLL_SECONDS):
            pass  # the watcher heeds time-out and stop, and ends in any case
        if self._expired.is_set():
            raise self._too_long()
        seconds = time.monotonic() - self._began
        return Done(self.argv, self._code(), stderr=bytes(self._errors), seconds=seconds)

    def _too_long(self) -> TimeoutExpiredError:
        program = f"{Path(self.argv[0]).name} on {self._line.host}"
        return TimeoutExpiredError(
            f"{program} did not end within {self._timeout:g} s and was stopped",
            hint="raise the timeout, or see why it hangs",
        )

    def _code(self) -> int:
        channel = self._line.channel
        if channel.exit_status >= 0 and not self._given_up:
            return channel.exit_status
        if self._killed_at is not None:
            self._line.heed_stop()
            return -9
        transport = channel.get_transport()
        if channel.eof_received and transport and transport.is_active():
            raise HostDownError(
                f"{self._line.host} ended {Path(self.argv[0]).name} without saying how it went",
                hint="see that host's log: its session was ended from outside",
            )
        raise lost(channel, self._line.host)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.ended():
            self.kill()
            self._over.wait(_GIVE_UP_SECONDS + _GRACE_SECONDS)
        self._line.close()
        self._over.wait(_GRACE_SECONDS)

    # -- watching ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Keep what it says on stderr, end it when its time is over, and notice its end."""
        channel = self._line.channel
        try:
            while not channel.exit_status_ready():
                if not self._hear(channel):
                    channel.status_event.wait(POLL_SECONDS)
                self._judge(channel)
            # What was said last may come after the exit code, and the end of it never: a daemon may hold it open.
            deadline = time.monotonic() + _LAST_WORDS_SECONDS
            while self._hear(channel) and time.monotonic() < deadline:
                pass
        finally:
            self._over.set()
            self._on_end()

    def _hear(self, channel: Channel) -> bool:
        """Keep what comes on stderr within a moment; False at its end."""
        try:
            data = channel.recv_stderr(1 << 16)
        except TimeoutError:
            return True
        except GONE:
            return False
        self._errors += data
        del self._errors[:-_KEPT]
        if self._heed and data:
            self._tell(self._heed, data)
        return bool(data)

    def _tell(self, heed: Callable[[str], bool], data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            if heed(line.decode("utf-8", "replace")):
                self._given_up = True
                self.kill()

    def _judge(self, channel: Channel) -> None:
        now = time.monotonic()
        if self._killed_at is None:
            if self._timeout is not None and now - self._began > self._timeout:
                self._expired.set()
                self.kill()
            elif self._line.stopping():
                self.kill()
            return
        waited = now - self._killed_at
        if waited > _GIVE_UP_SECONDS:
            self._line.close()
        elif waited > _GRACE_SECONDS and self._group:
            group, self._group = self._group, 0
            with suppress(DrError, *GONE):
                self._kill_group(group)


def feed_and_read(process: SshProcess, data: bytes | None) -> bytes:
    """Write `data` to a program's input while its output is read to the end; return the output."""
    feeder = threading.Thread(target=_feed, args=(process, data), daemon=True) if data is not None else None
    if feeder:
        feeder.start()
    blocks = []
    while block := process.read():
        blocks.append(block)
    if feeder:
        feeder.join(_GIVE_UP_SECONDS)
    return b"".join(blocks)


def _feed(process: SshProcess, data: bytes) -> None:
    with suppress(BrokenPipeError, InterruptedRunError):
        process.write(data)
        process.end_input()
