"""Whose an error is where a source's own host stores it: the target's goes on as it is, any other is the source's."""

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
from dr.sources.own_errors import own_errors
from dr.tools import command

#: What another target may do better; everything else is the source's own fault, or its host's.
_OF_THE_TARGET = (TargetDownError, RefusedError, LockedError, NoRepositoryError, DamageError)


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
