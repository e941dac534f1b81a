"""Another try, where another try can help: at the edge, bounded, and each try said.

The one budget is here: what we try ourselves, what boto3 tries, and what restic tries, end by it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from dr.errors import DrError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")
log = logging.getLogger("dr.retry")

#: So many seconds one operation may go on failing at most: a service is started again in less.
BUDGET_SECONDS = 120.0
#: And so many at least, however short the RPO: less outlasts nothing.
SHORTEST_SECONDS = 20.0
#: The part of the RPO that one operation may go on failing.
SHARE = 0.1
#: So often is it tried within them.
TRIES = 4


_budget: ContextVar[float] = ContextVar("budget", default=BUDGET_SECONDS)


def budget() -> float:
    """Return how many seconds one operation may go on failing, in the run that this thread works for."""
    return _budget.get()


def budget_for(rpo: float) -> float:
    """Return the budget of a system by its RPO, in seconds: a tenth of it, at least 20 s and at most 2 min."""
    return min(BUDGET_SECONDS, max(SHORTEST_SECONDS, rpo * SHARE))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Do what follows with that budget, in this thread and in those that it hands work to (`activity.carried`)."""
    token = _budget.set(seconds)
    try:
        yield
    finally:
        _budget.reset(token)


class Patience:
    """How long another program's operations have been failing, by its own word; one for each process."""

    def __init__(self, *, budget: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget, self._clock = _budget.get() if budget is None else budget, clock
        self._since: dict[str, float] = {}

    def is_spent(self, doing: str, wait: float) -> bool:
        """Note that an operation failed; whether its next try, in `wait` seconds, would be past the budget."""
        began = self._since.setdefault(doing, self._clock())
        return self._clock() - began + wait > self._budget

    def worked(self, doing: str) -> None:
        """Note that it worked after all."""
        self._since.pop(doing, None)


class Again:
    """Tries of what goes on where it broke: as many as `persist` makes, from the last that brought something."""

    def __init__(self, what: str, *, first_wait: float = 1.0) -> None:
        self._what, self._wait, self._failed = what, first_wait, 0

    def worked(self) -> None:
        """Note that the last try brought something."""
        self._failed = 0

    def wait_after(self, error: DrError) -> None:
        """Say that there is another try and wait for it; where none can help or is left, raise the error."""
        self._failed += 1
        if not error.retryable or self._failed >= TRIES:
            raise error
        log.warning("%s; trying again (%d of %d)", _told(self._what, error), self._failed, TRIES - 1)
        time.sleep(min(20.0, self._wait * 2 ** (self._failed - 1)))


def persist(attempt: Callable[[], T], *, what: str, tries: int = TRIES, first_wait: float = 1.0) -> T:
    """Return what `attempt` returns, trying at most `tries` times while its error is `retryable`.

    Waits `first_wait` seconds, then twice as long each time (at most 20 s). The last error is raised
    as it is. tenacity is loaded only when a second try is needed.
    """
    try:
        return attempt()
    except DrError as error:
        if not error.retryable or tries < 2:
            raise
        log.warning("%s; trying again (1 of %d)", _told(what, error), tries - 1)
    return _persist(attempt, what=what, tries=tries - 1, first_wait=first_wait)


def _persist(attempt: Callable[[], T], *, what: str, tries: int, first_wait: float) -> T:
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("%s; trying again (%d of %d)", _told(what, error), state.attempt_number + 1, tries)

    time.sleep(first_wait)
    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, DrError) and error.retryable),
        stop=stop_after_attempt(tries),
        wait=wait_exponential(multiplier=first_wait * 2, max=20),
        before_sleep=say,
        reraise=True,
    )
    return retrying(attempt)


def _told(what: str, error: BaseException | None) -> str:
    """Say what failed of what: most errors name that themselves."""
    return str(error) if str(error).startswith(f"{what}: ") else f"{what}: {error}"
