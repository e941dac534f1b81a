"""The few errors this program raises: what happened, where, why, and what to do.

Every error carries the exit code its kind deserves, so that codes are decided here and nowhere else.
"""

from __future__ import annotations

import errno
import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import Literal

from dr.late_dataclass import dataclass

log = logging.getLogger("dr")

OK = 0
FAILED = 1
INVALID = 2
DEGRADED = 3
OBJECTIVE_MISSED = 4
LOCKED = 11
REFUSED = 12
INTERRUPTED = 130

#: What each exit code means, for the manual and the README.
EXIT_STATUS = {
    OK: "done, objectives met",
    FAILED: "failed",
    INVALID: "usage or invalid plan, nothing touched",
    DEGRADED: "degraded: done in part, or with warnings",
    OBJECTIVE_MISSED: "an objective missed",
    LOCKED: "locked",
    REFUSED: "credentials or passphrase refused",
    INTERRUPTED: "interrupted",
}
#: With several results the command ends with the worst, in this order.
WORST_FIRST = (INTERRUPTED, INVALID, FAILED, REFUSED, LOCKED, DEGRADED, OBJECTIVE_MISSED, OK)


def worst(codes: list[int]) -> int:
    """Return the worst of several exit codes; 0 when there are none."""
    return min(codes, key=WORST_FIRST.index, default=OK)


def code_of(outcome: str) -> int:
    """Return the exit code that an outcome deserves, where nothing is known but that; an unknown one is a failure."""
    return {"ok": OK, "skipped": OK, "degraded": DEGRADED, "aborted": INTERRUPTED}.get(outcome, FAILED)


def with_hint(what: str, hint: str) -> str:
    """Return what is said, and what to do about it as a sentence of its own."""
    if not hint:
        return what
    return f"{what}{'' if what.endswith('?') else '.'} {hint[:1].upper()}{hint[1:]}"


@dataclass
class DrError(Exception):
    """What went wrong, where, why, and what the reader should do next.

    `where` is a file with line, a key, a system or a target. `retryable` says whether the same call
    may succeed later without anybody changing anything.
    """

    what: str
    where: str = ""
    cause: str = ""
    hint: str = ""
    retryable: bool = False
    exit_code: int = field(default=FAILED, kw_only=True)

    def __str__(self) -> str:
        """One sentence: `where: what (cause)`."""
        return f"{self.where}: {self.sentence}" if self.where else self.sentence

    @property
    def sentence(self) -> str:
        """Return `what (cause)`, for who says the place beside it."""
        return f"{self.what} ({self.cause})" if self.cause else self.what


@dataclass
class UsageError(DrError):
    """The command line asks for something that cannot be; nothing was touched."""

    exit_code: int = field(default=INVALID, kw_only=True)


@dataclass
class LockedError(DrError):
    """Another run, here or elsewhere, holds the repository."""

    exit_code: int = field(default=LOCKED, kw_only=True)


@dataclass
class RefusedError(DrError):
    """Credentials or a passphrase were missing or refused."""

    exit_code: int = field(default=REFUSED, kw_only=True)


@dataclass
class TargetDownError(DrError):
    """A target cannot be reached, or its bucket or path is gone."""


@dataclass
class AbsentError(TargetDownError):
    """A disk that may be taken away is not there, or was never used: no error, where that is foreseen."""


@dataclass
class NoRepositoryError(DrError):
    """The target answers, but no repository is there yet."""


@dataclass
class DamageError(DrError):
    """Stored bytes are not what was stored."""


@dataclass
class SourceError(DrError):
    """A source could not be captured, or could not be captured whole."""


@dataclass
class CatalogError(DrError):
    """The catalog cannot be opened, read or written."""


@dataclass
class InterruptedRunError(DrError):
    """Somebody asked the program to stop."""

    exit_code: int = field(default=INTERRUPTED, kw_only=True)


@dataclass
class MachineError(DrError):
    """The machine refused: a full disk, a file's rights, a broken device."""


@dataclass
class ProgramFaultError(DrError):
    """This program itself is wrong: an error that nobody foresaw."""


def as_error(error: Exception) -> DrError:
    """Return any error as one of ours. What a fault in this program says may hold a secret: only its kind is told."""
    if isinstance(error, DrError):
        return error
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space, then try again" if full else "see the file and its rights"
        return MachineError((error.strerror or str(error)).lower(), str(error.filename or ""), hint=hint)
    inside = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(_HOME)]
    place = f" at dr/{Path(inside[-1].filename).relative_to(_HOME)}:{inside[-1].lineno}" if inside else ""
    what = f"a fault in this program ({type(error).__name__}{place})"
    return ProgramFaultError(what, hint="run again with -v, and report what it says")


_HOME = Path(__file__).parent


@contextmanager
def every_error() -> Iterator[None]:
    """Let out errors of ours alone: whatever else is raised becomes one, with its traceback in the log of `-v`.

    What comes out goes on record, where the names of single files have no place: of a file that the machine refused
    only the file system is named, and the log names the file.
    """
    try:
        yield
    except DrError:
        raise
    except Exception as error:
        log.info("what was raised:", exc_info=error)
        raise _for_the_record(as_error(error)) from error


def _for_the_record(error: DrError) -> DrError:
    if isinstance(error, MachineError) and error.where:
        return replace(error, where=f"the file system at {_mounted_at(error.where)}", hint=f"{error.hint}; {_WHICH}")
    return error


_WHICH = "run again with -v to see which file it is"


def _mounted_at(name: str) -> Path:
    """Return the mount point below which a file lies. One that cannot be asked is passed over."""
    path = Path(name).absolute()
    return next((each for each in (path, *path.parents) if os.path.ismount(each)), Path(path.root))


@dataclass(frozen=True)
class Problem:
    """What went wrong beside the work, or in one system while others were done; with the exit code it deserves."""

    what: str
    where: str = ""
    hint: str = ""
    exit_code: int = DEGRADED

    @staticmethod
    def of(error: DrError, where: str = "", *, exit_code: int = DEGRADED) -> Problem:
        """Return an error as a problem of `where`."""
        what = error.sentence
        place = error.where if not where or error.where.startswith(where) else where
        if error.where and place == where:
            what = f"{error.where}: {what}"
        return Problem(what, place, error.hint, exit_code)


Severity = Literal["refused", "unsound", "unread", "advice"]


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong in a declaration, at `file:line:column`.

    `refused` stops every command. `unsound` fails `dr validate`, because the plan promises what it
    cannot keep, but a backup still runs: a copy beats no copy. `unread` is a file that nobody reads: it fails
    nothing, and every command that reads plans says it. `advice` fails nothing, and `dr validate` says it.
    """

    file: str
    line: int
    column: int
    what: str
    hint: str = ""
    severity: Severity = "refused"
    #: Of a fault in what `site.yaml` lends to plans: the systems that it concerns.
    systems: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def told(self) -> str:
        """What is wrong, and, where it lies in what plans share, for which systems: the first three by name."""
        names = sorted(self.systems)
        if not names:
            return self.what
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"{self.what} (for {', '.join(names[:3])}{more})"

    @property
    def fails(self) -> bool:
        """Whether `dr validate` fails for it."""
        return self.severity in ("refused", "unsound")

    @property
    def where(self) -> str:
        """`file:line:column`; of a file that is not read, the file."""
        if self.severity == "unread":
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


@dataclass
class PlanError(DrError):
    """Declarations that cannot be used, with all their faults at once."""

    faults: tuple[Fault, ...] = ()
    exit_code: int = field(default=INVALID, kw_only=True)
