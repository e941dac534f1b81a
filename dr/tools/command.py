"""Other programs: the one place that starts them.

Arguments are lists, never shell text. Every child has a process group of its own, which is ended as a
whole; it is told to stop when this process dies, however it dies (`setpriv --pdeathsig`), so that a
`kill -9` leaves nothing running. `interrupt_all` passes a Ctrl-C or SIGTERM on to every child.
"""

from __future__ import annotations

import _thread
import fcntl
import functools
import itertools
import os
import pwd
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from dr.errors import DrError, InterruptedRunError
from dr.late_dataclass import dataclass

if TYPE_CHECKING:  # commands that start no program load neither
    import subprocess

_KEPT = 1 << 20  # bytes of stderr remembered
_GRACE_SECONDS = 20.0  # for a program that was asked to stop, before it is killed
_PIPE = 1 << 20  # bytes that may wait between two programs
#: Its parent may have died before that signal was asked for: then nobody would end it.
_UNLESS_ORPHAN = 'test "$PPID" = "$0" || exit 1; exec "$@"'
_live: set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()


@dataclass
class ProgramMissingError(DrError):
    """The program is not on this machine."""


@dataclass
class TimeoutExpiredError(DrError):
    """The program did not end in time and was ended, with all it had started."""


@dataclass(frozen=True)
class Done:
    """How a program ended. `code` is negative when a signal ended it."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes = field(repr=False, default=b"")
    stderr: bytes = field(repr=False, default=b"")
    seconds: float = 0.0

    @property
    def last_words(self) -> str:
        """The last non-empty line of stderr, at most 300 characters, printable."""
        lines = [x.strip() for x in self.stderr.decode("utf-8", "replace").splitlines() if x.strip()]
        text = lines[-1] if lines else ""
        return "".join(c if c.isprintable() else "?" for c in text)[:300]


class _Stop:
    """Whether the program was asked to stop, as a signal handler can say it.

    A handler runs inside whatever the main thread is doing, and the next signal's inside it: a lock that one of them
    holds is never released. So nothing is locked here, and who waits is woken by a thread of its own.
    """

    def __init__(self) -> None:
        self._times = itertools.count()
        self._asked = False
        self._woken = threading.Event()

    def ask(self) -> bool:
        """Ask; return whether that was for the first time."""
        first = next(self._times) == 0
        self._asked = True
        with suppress(RuntimeError):  # no thread is to be had, or the program ends: then waits last their time
            _thread.start_new_thread(self._wake, ())
        return first

    def _wake(self) -> None:
        if self._asked:
            self._woken.set()

    def __bool__(self) -> bool:
        return self._asked

    def wait(self, seconds: float) -> bool:
        return self._asked or self._woken.wait(seconds)

    def withdraw(self) -> None:
        self._times, self._asked = itertools.count(), False
        self._woken.clear()


_stop = _Stop()


class Stopped(NamedTuple):
    """What a request to stop met: whether it was the first, and how many children ran."""

    first: bool
    children: int


def interrupt_all() -> Stopped:
    """Ask every running child to stop (SIGINT) and refuse to start more. Safe in a signal handler."""
    first = _stop.ask()
    children = list(_live)
    for child in children:
        _signal(child, signal.SIGINT)
    return Stopped(first, len(children))


def kill_all() -> None:
    """End every running child at once (SIGKILL), with all that it started."""
    for child in list(_live):
        _signal(child, signal.SIGKILL)


def stopping() -> bool:
    """Whether the program was asked to stop."""
    return bool(_stop)


def wait_for_stop(seconds: float) -> bool:
    """Sleep up to `seconds`; return at once, and True, when the program was asked to stop."""
    return _stop.wait(seconds)


def resume() -> None:
    """Allow new children again: after a clean stop, in a process that lives on."""
    _stop.withdraw()


def raise_if_stopping() -> None:
    """Raise `InterruptedRunError` when the program was asked to stop: called between steps."""
    if _stop:
        raise InterruptedRunError("stopped on request", hint="start the command again to finish the work")


@functools.cache
def _dying_with_us(with_signal: str, user: str | None) -> tuple[str, ...]:
    program = _which("setpriv", None)
    if user and not program:
        raise ProgramMissingError("the program 'setpriv' is not on this machine", hint="install util-linux")
    as_user = (f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups") if user else ()
    return (program, *as_user, "--pdeathsig", with_signal, "--", "/bin/sh", "-c", _UNLESS_ORPHAN) if program else ()


def _which(name: str, path: str | None) -> str | None:
    import shutil

    return shutil.which(name, path=path)


def _program(name: str, cwd: Path | str | None, path: str | None) -> str:
    """Return what to start; a relative path is relative to `cwd`, as a shell there would have it."""
    if "/" in name:
        full = Path(cwd or ".", name)
        if full.is_file() and os.access(full, os.X_OK):
            return name
    elif found := _which(name, path):
        return found
    raise ProgramMissingError(
        f"the program {name!r} is not on this machine, or is not executable",
        hint="install it, or correct its name or path",
    )


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | str | None,
    stdin: int,
    death: str = "KILL",
    pass_fds: Sequence[int] = (),
    user: str | None = None,
    regardless: bool = False,
    within: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    import subprocess

    if not regardless:
        raise_if_stopping()
    program = _program(argv[0], cwd, (env or os.environ).get("PATH"))
    wrapped = (*prefix, str(os.getpid())) if (prefix := _dying_with_us(death, user)) else ()
    if within:
        wrapped = (_program(within[0], None, None), *within[1:], *wrapped)
    try:
        child = subprocess.Popen(
            [*wrapped, program, *argv[1:]],
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except (OSError, ValueError) as error:
        raise ProgramMissingError(
            f"the program {argv[0]!r} cannot be started",
            cause=_reason(error),
            hint="check its path and rights",
        ) from error
    _widen(child.stdout)
    with _guard:
        _live.add(child)
    if _stop and not regardless:
        _signal(child, signal.SIGINT)
    return child


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a megabyte wait in a pipe: fewer turns between two busy programs. Where that is refused, no harm is done."""
    if pipe:
        with suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _forget(child: subprocess.Popen[bytes]) -> None:
    with _guard:
        _live.discard(child)


class Running:
    """A started program whose standard output the caller reads; a context that ends it if need be.

    `timeout` is in seconds from the start, for the whole life of the program. With `feed` the caller writes
    its standard input (`write`, then `end_input`). `user` is who it runs as (root alone may name another);
    `within` is a command that stands before it, such as one that enters a namespace, and becomes it. `heed` is given
    each line of its standard error; when that returns True, it is asked to stop (SIGINT), and killed if it does not.
    It ends, too, when the thread that started it ends: start what must live on from a thread that does.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        timeout: float | None = None,
        stdin: bytes | None = None,
        feed: bool = False,
        death: str = "KILL",
        pass_fds: Sequence[int] = (),
        user: str | None = None,
        regardless: bool = False,
        within: Sequence[str] = (),
        heed: Callable[[str], bool] | None = None,
    ) -> None:
        import subprocess

        self.argv, self._heed = tuple(argv), heed
        self._grace: threading.Timer | None = None
        self._began = time.monotonic()
        self._timeout = timeout
        self._expired = threading.Event()
        self._errors = bytearray()
        to_child = subprocess.DEVNULL if stdin is None and not feed else subprocess.PIPE
        self._child = _start(
            argv, env=env, cwd=cwd, stdin=to_child, death=death, pass_fds=pass_fds, user=user, regardless=regardless,
            within=within,
        )  # fmt: skip
        self._threads = [threading.Thread(target=self._collect, daemon=True)]
        _widen(self._child.stdin)
        if stdin is not None:
            self._threads.append(threading.Thread(target=self._feed, args=(stdin,), daemon=True))
        for thread in self._threads:
            thread.start()
        self._timer = threading.Timer(timeout, self._expire) if timeout else None
        self._wake = os.fdopen(os.eventfd(0), "r+b", 0) if timeout else None
        if self._timer:
            self._timer.daemon = True
            self._timer.start()

    @property
    def stdout(self) -> IO[bytes]:
        """What the program writes."""
        assert self._child.stdout is not None  # noqa: S101 - always a pipe
        return self._child.stdout

    def read(self, size: int = 1 << 20) -> bytes:
        """Return up to `size` bytes as soon as some are there; empty at the end, and once its time is over."""
        return os.read(self.stdout.fileno(), size) if self._in_time() else b""

    def _in_time(self) -> bool:
        """Wait for output or its end; False once its time is over: what it left behind may hold the output for ever."""
        if self._wake is None:
            return True
        import select

        over, watched = self._wake.fileno(), select.poll()
        watched.register(self.stdout.fileno(), select.POLLIN)
        watched.register(over, select.POLLIN)
        return over not in dict(watched.poll())

    def write(self, data: bytes) -> None:
        """Write to its standard input; `BrokenPipeError` when it reads no more. Needs `feed`."""
        assert self._child.stdin is not None  # noqa: S101 - asked for by `feed`
        self._child.stdin.write(data)
        self._child.stdin.flush()

    def end_input(self) -> None:
        """Close its standard input. May be called twice."""
        if self._child.stdin:
            with suppress(BrokenPipeError):
                self._child.stdin.close()

    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._child.poll() is not None

    def interrupt(self) -> None:
        """Ask it to stop (SIGINT)."""
        _signal(self._child, signal.SIGINT)

    def kill(self) -> None:
        """End it and everything it started, at once. May be called twice."""
        _signal(self._child, signal.SIGKILL)

    def finish(self) -> Done:
        """Wait for its end; raises `TimeoutExpiredError` when it was ended for taking too long."""
        try:
            code = self._child.wait()
        finally:
            self._cancel_timers()
            _forget(self._child)
        for thread in self._threads:
            thread.join(timeout=5)
        if self._expired.is_set():
            raise TimeoutExpiredError(
                f"{Path(self.argv[0]).name} did not end within {self._timeout:.3g} s and was stopped",
                hint="raise the timeout, or see why it hangs; what it started and left may still hold its output",
            )
        seconds = time.monotonic() - self._began
        return Done(self.argv, code, stderr=bytes(self._errors), seconds=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.ended():
            self.kill()
        self._child.wait()
        self._cancel_timers()
        _forget(self._child)
        self.stdout.close()
        self.end_input()
        if self._wake:
            self._wake.close()

    def _expire(self) -> None:
        self._expired.set()
        self.kill()
        with suppress(OSError, ValueError):  # nobody reads any more
            if self._wake:
                self._wake.write((1).to_bytes(8, sys.byteorder))

    def _collect(self) -> None:
        pipe = self._child.stderr
        assert pipe is not None  # noqa: S101 - always a pipe
        held = b""
        with pipe:
            while block := os.read(pipe.fileno(), 1 << 16):
                self._errors += block
                del self._errors[:-_KEPT]
                *lines, held = (held + block).split(b"\n")
                if self._heed and any(self._heed(line.decode("utf-8", "replace")) for line in lines):
                    self._give_up()

    def _give_up(self) -> None:
        """Ask it to stop, and see to it that it does."""
        self.interrupt()
        if self._grace is None:
            self._grace = threading.Timer(_GRACE_SECONDS, self.kill)
            self._grace.daemon = True
            self._grace.start()

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._grace):
            if timer:
                timer.cancel()

    def _feed(self, data: bytes) -> None:
        pipe = self._child.stdin
        assert pipe is not None  # noqa: S101 - asked for in __init__
        with suppress(BrokenPipeError), pipe:
            pipe.write(data)


stream = Running


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
    death: str = "KILL",
    user: str | None = None,
    regardless: bool = False,
    within: Sequence[str] = (),
    heed: Callable[[str], bool] | None = None,
) -> Done:
    """Run a program to its end and return how it ended; no exit code raises.

    `env` None inherits ours, else it is exactly that. With `on_line` each line of standard output is
    handed over as it comes and not kept; `heed` is as in `Running`. Raises `ProgramMissingError`,
    `TimeoutExpiredError`, `InterruptedRunError`.
    """
    with Running(
        argv, env=env, cwd=cwd, timeout=timeout, stdin=stdin, death=death, user=user, regardless=regardless,
        within=within, heed=heed,
    ) as running:  # fmt: skip
        if on_line is None:
            stdout = b"".join(iter(running.read, b""))
        else:
            stdout = b""
            for line in running.stdout:
                on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
        done = running.finish()
    return Done(done.argv, done.code, stdout, done.stderr, done.seconds)
