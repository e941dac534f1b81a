"""Another try, where another try can help: at the edge, bounded, and each try said."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from dr.errors import DrError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")
log = logging.getLogger("dr.retry")


def persist(attempt: Callable[[], T], *, what: str, tries: int = 4, first_wait: float = 1.0) -> T:
    """Return what `attempt` returns, trying at most `tries` times while its error is `retryable`.

    Waits `first_wait` seconds, then twice as long each time (at most 20 s). The last error is raised
    as it is. tenacity is loaded only when a second try is needed.
    """
    try:
        return attempt()
    except DrError as error:
        if not error.retryable or tries < 2:
            raise
        log.warning("%s: %s; trying again (1 of %d)", what, error, tries - 1)
    return _persist(attempt, what=what, tries=tries - 1, first_wait=first_wait)


def _persist(attempt: Callable[[], T], *, what: str, tries: int, first_wait: float) -> T:
    import time

    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("%s: %s; trying again (%d of %d)", what, error, state.attempt_number + 1, tries)

    time.sleep(first_wait)
    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, DrError) and error.retryable),
        stop=stop_after_attempt(tries),
        wait=wait_exponential(multiplier=first_wait * 2, max=20),
        before_sleep=say,
        reraise=True,
    )
    return retrying(attempt)
