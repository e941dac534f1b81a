"""Errors of hosts and programs, made a source's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dr.errors import DrError, InterruptedRunError, SourceError
from dr.tools import command


@contextmanager
def own_errors(name: str) -> Iterator[None]:
    """Make whatever a host or program raises an error of the source `name`: `SourceError`.

    Whether another try can help, and the exit code, stay. A stop on request stays what it is.
    """
    try:
        yield
    except (InterruptedRunError, SourceError):
        raise
    except DrError as error:
        command.raise_if_stopping()
        where = "" if error.where in ("", name) else f"{error.where}: "  # such as the host that did not answer
        raise SourceError(
            where + error.what, name, error.cause, hint=error.hint, retryable=error.retryable, exit_code=error.exit_code
        ) from error
