"""A process forked from the test, which may be killed at any moment: it has all loaded that the test has."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import NoReturn


class Child:
    """Carries out `act` in a process of its own; `act` is given what it says by that it is where it should be."""

    def __init__(self, act: Callable[[Callable[[], object]], None]) -> None:
        self._heard, said = os.pipe()
        self._process = os.fork()
        self._code: int | None = None
        if self._process == 0:
            _carry_out(act, said)
        os.close(said)

    def hears(self) -> bool:
        """Wait until it is where it should be; False where it came to its end instead."""
        return os.read(self._heard, 1) != b""

    def ended(self) -> bool:
        """Whether it came to its end."""
        if self._code is None:
            process, status = os.waitpid(self._process, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if process else None
        return self._code is not None

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        if not self.ended():
            os.kill(self._process, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; return its exit code, below 0 the signal."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        os.close(self._heard)
        return self._code


def _carry_out(act: Callable[[Callable[[], object]], None], said: int) -> NoReturn:
    code = 1
    try:
        act(lambda: os.write(said, b"."))
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of the test goes on here
        traceback.print_exc()
    finally:
        os._exit(code)
