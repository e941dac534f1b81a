"""Errors of hosts and programs, made a source's own; the target's go on as they are where the host itself stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dr.errors import (
    DamageError,
    DrError,
    InterruptedRunError,
    LockedError,
    NoRepositoryError,
    RefusedError,
    SourceError,
    TargetDownError,
)
from dr.tools import command

#: What another target may do better; everything else is the source's own fault, or its host's.
_OF_THE_TARGET = (TargetDownError, RefusedError, LockedError, NoRepositoryError, DamageError)


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


@contextmanager
def blame(name: str) -> Iterator[None]:
    """Let the target's errors go on as they are; whatever else is raised is the source's."""
    try:
        yield
    except _OF_THE_TARGET:
        raise
    except InterruptedRunError as error:
        command.raise_if_stopping()
        raise SourceError("restic was ended there from outside", name, hint="start the backup again") from error
    except DrError:
        with own_errors(name):
            raise
