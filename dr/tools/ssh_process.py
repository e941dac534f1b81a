"""A program on another host: how it is started there, fed, watched and ended. Needs a POSIX shell, no more.

The channel's input is ours to steer by. First come lines with the environment, so that secrets are on no
command line; then, for a program that is fed, blocks with their length before them, and the word `end`.
So a connection that breaks is never taken for the end of what is fed: a guard on the host reads the channel,
and when that ends before the program has, it ends the program and everything it started, at once.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from paramiko import Channel, SSHException

from dr.errors import DrError, InterruptedRunError, UsageError
from dr.tools import command
from dr.tools.command import Done, ProgramMissingError, TimeoutExpiredError

#: How often a waiting call looks whether it should go on waiting.
POLL_SECONDS = 0.2
_GRACE_SECONDS = 1.0  # for the guard; then the processes are killed by their number, through a channel of its own
_GIVE_UP_SECONDS = 6.0
_LAST_WORDS_SECONDS = 5.0
_START_SECONDS = 30.0  # for a shell to start on a busy host
_KEPT = 1 << 20  # bytes of stderr remembered
_BLOCK = 1 << 20
_GREETING = 64 << 10  # what a shell's start-up files may say before the program begins
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GONE = (SSHException, EOFError, OSError)

# All must be ended with the process group that sshd makes for a command. Where a forced command or another
# server left us in a group of others, we make one.
_OWN_GROUP = 'kill -s 0 -- "-$$" 2>/dev/null && exec sh -c "$@"; exec setsid sh -c "$@"'

# $1 the mark that our words begin with, $2 `open` when the program is fed, $3 where it runs, then the program.
# The left side of the pipe is the guard; with `open` a second one waits for the end of sshd's process, since the
# first may be stuck in writing to a program that does not read; it ends by itself, a second after us, and says
# nothing: only the first may write, or its words would come amid the fed bytes. The right side runs the program
# and then ends the first guard. Login shells differ: no line may hold an exclamation mark or end without a `;`.
_PROLOGUE = """\
dr_t=$1 dr_m=$2 dr_d=$3; shift 3;
while IFS= read -r dr_l && [ -n "$dr_l" ]; do export "$dr_l"; done;
[ -z "$dr_d" ] || CDPATH= cd -- "$dr_d" 2>/dev/null || { echo "$dr_t directory"; exit 1; };
command -v "$1" >/dev/null 2>&1 || { echo "$dr_t program"; exit 1; };
[ "$dr_m" = shut ] || dd count=0 iflag=fullblock </dev/null >/dev/null 2>&1 || { echo "$dr_t dd"; exit 1; };
echo "$dr_t ready $$"; exec 4>&2 2>/dev/null;
{ exec 4>&-;
if [ "$dr_m" = open ]; then
{ exec >/dev/null; kill -0 "$PPID" || exit 0; while kill -0 "$PPID"; do kill -0 "$$" || exit 0; sleep 1; done;
kill -0 "$$" && kill -s KILL -- "-$$"; } </dev/null & fi;
sh -c 'echo "$PPID"';
if [ "$dr_m" = open ]; then while IFS= read -r dr_l; do [ "$dr_l" = end ] && break;
dd bs="$dr_l" count=1 iflag=fullblock; done; [ "$dr_l" = end ] || kill -s KILL -- "-$$"; fi;
exec >/dev/null; while IFS= read -r dr_l; do :; done; kill -s KILL -- "-$$"; } |
{ IFS= read -r dr_g; if [ "$dr_m" = open ]; then ( exec "$@" ) 2>&4 4>&-;
else ( exec "$@" ) </dev/null 2>&4 4>&-; fi; dr_s=$?; kill "$dr_g"; exit "$dr_s"; }
""".replace("\n", " ")


@dataclass
class HostDownError(DrError):
    """Another host cannot be reached, or the connection to it was lost."""

    retryable: bool = True


def lost(channel: Channel, host: str) -> HostDownError:
    """Return the error for a connection that broke under a channel."""
    transport = channel.get_transport()
    return down(host, str(transport.get_exception() or "") if transport else "")


def down(host: str, reason: str) -> HostDownError:
    """Return the error for a connection that broke."""
    return HostDownError(
        f"the connection to {host} was lost", cause=reason, hint="see whether the host and the network are well"
    )


class Line:
    """One channel: bytes both ways. No call hangs when the program is asked to stop, unless it is `regardless`."""

    def __init__(self, channel: Channel, host: str, *, regardless: bool = False) -> None:
        self.channel, self.host, self.regardless = channel, host, regardless
        self.closing = False
        channel.settimeout(POLL_SECONDS)

    def read(self, size: int = 1 << 20) -> bytes:
        """Return up to `size` bytes as soon as some are there; empty at the end. A break raises."""
        while True:
            try:
                data = self.channel.recv(size)
            except TimeoutError:
                self.heed_stop()
                continue
            except _GONE as error:  # reading tells the host to send more, and that may fail
                raise lost(self.channel, self.host) from error
            if not data:
                self.heed_stop()
                if not self.channel.eof_received and not self.closing:
                    raise lost(self.channel, self.host)
            return data

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it; `BrokenPipeError` when the other side reads no more."""
        rest = memoryview(data)
        while rest:
            try:
                count = 0 if self.closing else self.channel.send(bytes(rest[: 64 << 10]))
            except TimeoutError:
                self.heed_stop()
                continue
            except _GONE as error:
                raise BrokenPipeError(f"{self.host} takes no more input") from error
            if not count:
                raise BrokenPipeError(f"{self.host} takes no more input")
            rest = rest[count:]

    def heed_stop(self) -> None:
        """Raise `InterruptedRunError`, and hang up, when the program was asked to stop."""
        if self.stopping():
            self.hang_up()
            command.raise_if_stopping()

    def stopping(self) -> bool:
        """Whether to stop."""
        return command.stopping() and not self.regardless

    def hang_up(self) -> None:
        """Send no more: the guard on the host then ends what runs there."""
        self.closing = True
        with suppress(*_GONE):
            self.channel.shutdown_write()

    def close(self) -> None:
        """Close the channel. May be called twice."""
        self.closing = True
        with suppress(*_GONE):
            self.channel.close()


class SshProcess:
    """A program on another host; see `dr.tools.host.Process`.

    `kill_group` ends a process group there by its number; `over` is called once, when the program has ended.
    """

    def __init__(
        self,
        line: Line,
        argv: Sequence[str],
        *,
        timeout: float | None,
        kill_group: Callable[[int], None],
        over: Callable[[], None],
    ) -> None:
        self.argv = tuple(argv)
        self._line, self._kill_group, self._on_end = line, kill_group, over
        self._timeout = timeout
        self._began = time.monotonic()
        self._errors = bytearray()
        self._killed_at: float | None = None
        self._group = 0
        self._first = b""
        self._fed = False
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
            self._line.write(first)
            self._group = self._await(mark, cwd)
        except BaseException as error:
            self._line.close()
            if isinstance(error, _GONE):
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
            program = f"{Path(self.argv[0]).name} on {self._line.host}"
            raise TimeoutExpiredError(
                f"{program} did not end within {self._timeout:g} s and was stopped",
                hint="raise the timeout, or see why it hangs",
            )
        seconds = time.monotonic() - self._began
        return Done(self.argv, self._code(), stderr=bytes(self._errors), seconds=seconds)

    def _code(self) -> int:
        channel = self._line.channel
        if channel.exit_status >= 0:
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
        except _GONE:
            return False
        self._errors += data
        del self._errors[:-_KEPT]
        return bool(data)

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
            with suppress(DrError, *_GONE):
                self._kill_group(group)


def remote_command(mark: str, argv: Sequence[str], cwd: str | None, *, feed: bool) -> str:
    """Return the command line for the user's login shell, whatever shell that is."""
    if not argv or any("\0" in word for word in (*argv, cwd or "")):
        raise UsageError("a program's arguments cannot hold a NUL byte", hint="correct the arguments")
    own = [mark, "open" if feed else "shut", cwd or "", *argv]
    return "exec " + shlex.join(["sh", "-c", _OWN_GROUP, "dr", _PROLOGUE, "dr", *own])


def environment_lines(env: Mapping[str, str]) -> bytes:
    """Return the environment as the prologue reads it. Values are never told in an error."""
    for name, value in env.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name for an environment variable on another host", hint="rename it")
        if "\n" in value or "\0" in value:
            raise UsageError(
                f"the value of {name} has a line break or a NUL byte in it, which cannot be sent to another host",
                hint="give the secret one line",
            )
    return b"".join(os.fsencode(f"{name}={value}\n") for name, value in env.items()) + b"\n"


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
