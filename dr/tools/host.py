"""A host where programs run: this one, or another over SSH (`dr.tools.ssh`). One way to speak to both."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from dr.tools import command
from dr.tools.command import Done

#: What a program of the organisation's own has no need to know.
SECRET_PREFIXES = ("AWS_", "RESTIC_", "DR_")


class Process(Protocol):
    """A program that runs on a host; a context that ends it if need be."""

    def read(self, size: int = 1 << 20) -> bytes:
        """Return up to `size` bytes of its standard output as soon as some are there; empty at the end."""

    def write(self, data: bytes) -> None:
        """Write to its standard input; `OSError` when it reads no more. Needs `feed`."""

    def end_input(self) -> None:
        """Close its standard input. May be called twice."""

    def ended(self) -> bool:
        """Whether the program has ended."""

    def kill(self) -> None:
        """End it and everything it started, at once. May be called twice."""

    def finish(self) -> Done:
        """Wait for its end. Raises `TimeoutExpiredError`; a lost connection is a retryable `DrError`.

        On another host `Done.code` is 128 and the signal for a program that a signal ended, -9 for one we killed.
        """

    def __enter__(self) -> Self:
        """The process."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, if it has not ended."""


class Host(Protocol):
    """Where programs run. `env` is what is added to the host's own environment; it never reaches argv."""

    @property
    def name(self) -> str:
        """The host in words, for messages: "this host", "backup@sis.district.example"."""

    @property
    def here(self) -> bool:
        """Whether it is the machine this program runs on."""

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        feed: bool = False,
        standing: bool = False,
    ) -> Process:
        """Start a program; `timeout` in seconds is for its whole life. Raises `DrError` when that cannot be.

        One that is `standing`, such as a server, takes no place from those that come and go.
        """

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
        timeout: float | None = None,
        regardless: bool = False,
    ) -> Done:
        """Run a program to its end and return how it ended; no exit code raises.

        With `regardless` it runs also when this program was asked to stop: to put right what it began.
        """


class ThisHost:
    """The machine this program runs on."""

    name = "this host"
    here = True

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        feed: bool = False,
        standing: bool = False,
    ) -> command.Running:
        """See `Host`."""
        return command.Running(argv, env=own_environment(env), cwd=cwd, timeout=timeout, feed=feed)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
        timeout: float | None = None,
        regardless: bool = False,
    ) -> Done:
        """See `Host`."""
        whole = own_environment(env)
        return command.run(argv, env=whole, cwd=cwd, stdin=stdin, timeout=timeout, regardless=regardless)


def own_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without its secrets, and with what is added."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(SECRET_PREFIXES)}
    return {**kept, **(more or {})}


def script(text: str, *arguments: str) -> list[str]:
    """Return the command that runs a POSIX shell's script, on whichever host.

    Login shells differ: a script holds no exclamation mark, and each of its lines ends where one may be joined to
    the next.
    """
    return ["sh", "-c", text.replace("\n", " "), "dr", *arguments]
