"""What is being done right now, for whoever watches: a person at a terminal, a file of events. It is no evidence.

Who works says what it does, whether or not anyone watches: a run says when it starts and ends, a step which step it is,
and what moves bytes how many. Watchers are called in the thread that works, so they return at once. A thread knows in
whose name it works by a context variable; a pool's thread knows it when its work was `carried` there.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from typing import Literal, ParamSpec, TypeVar

from dr.late_dataclass import dataclass

P = ParamSpec("P")
T = TypeVar("T")
Event = Literal["started", "step", "progress", "step_ended", "ended"]


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much is done, and of how much where that is known. Sizes are bytes; `files` counts files or objects."""

    bytes: int | None = None
    total_bytes: int | None = None
    files: int | None = None
    total_files: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are done."""
        return self.bytes is not None and self.bytes == self.total_bytes


@dataclass(frozen=True, kw_only=True)
class Activity:
    """One thing to be told of a run. `source` and `target` are those that a step is about, "" for all of them.

    `outcome`, `exit_code` and `seconds` are known when it `ended`.
    """

    event: Event
    verb: str
    system: str
    run_id: str
    step: str = ""
    source: str = ""
    target: str = ""
    amount: Amount = field(default_factory=Amount)
    outcome: str = ""
    exit_code: int | None = None
    seconds: float | None = None


Watcher = Callable[[Activity], None]
_watchers: list[Watcher] = []
_current: contextvars.ContextVar[Activity | None] = contextvars.ContextVar("current", default=None)


def watched() -> bool:
    """Whether anyone watches: then programs are asked for their progress more often."""
    return bool(_watchers)


@contextlib.contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Tell a watcher of everything from now on."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


@contextlib.contextmanager
def run(verb: str, system: str, run_id: str) -> Iterator[None]:
    """Do what follows in the name of a run, which starts now. Its end is told by `ended`."""
    started = Activity(event="started", verb=verb, system=system, run_id=run_id)
    token = _current.set(started)
    try:
        _tell(started)
        yield
    finally:
        _current.reset(token)


def ended(outcome: str, *, exit_code: int, seconds: float) -> None:
    """Tell that the run of this thread has ended, and how; `seconds` since its start."""
    if current := _current.get():
        _tell(replace(current, event="ended", outcome=outcome, exit_code=exit_code, seconds=seconds))


@contextlib.contextmanager
def step(name: str, *, source: str = "", target: str = "") -> Iterator[None]:
    """Do what follows as a step of the run.

    What is "" is that of the step around it: its name, its source, its target.
    """
    current = _current.get()
    if current is None:
        yield
        return
    source, target = source or current.source, target or current.target
    within = replace(current, event="step", step=name or current.step, source=source, target=target)
    token = _current.set(within)
    try:
        _tell(within)
        yield
    finally:
        _current.reset(token)
        _tell(replace(within, event="step_ended"))


def progress(
    done: int | None = None, total: int | None = None, *, files: int | None = None, total_files: int | None = None
) -> None:
    """Tell how far the step is: bytes done and in all, files done and in all; what is not known is left out."""
    if _watchers and (current := _current.get()):
        amount = Amount(bytes=done, total_bytes=total, files=files, total_files=total_files)
        _tell(replace(current, event="progress", amount=amount))


def carried(act: Callable[P, T]) -> Callable[P, T]:
    """Return a function that a pool's thread does in the name of the run that this thread works for.

    With all else that is known of that run by a context variable, such as how patient it may be (`dr.tools.retry`).
    """
    here = contextvars.copy_context()

    @functools.wraps(act)
    def there(*args: P.args, **kwargs: P.kwargs) -> T:
        return here.copy().run(act, *args, **kwargs)

    return there


def _tell(activity: Activity) -> None:
    """Tell the watchers. That one cannot write, or has gone away, does not concern the work."""
    for watcher in _watchers:
        with contextlib.suppress(OSError):
            watcher(activity)
