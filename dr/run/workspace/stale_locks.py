"""Locks in a repository that a process of this machine left when it was killed: nobody else may know that it is dead.

A lock that stays keeps whoever needs the repository alone (prune, a repair of the index) waiting for half an hour.
restic judges which are stale; it is asked only where one of this machine's dead processes is among them.
"""

from __future__ import annotations

import logging
import os
import socket

from dr.errors import DrError, InterruptedRunError, RefusedError, TargetDownError
from dr.plan.units import counted
from dr.run.workspace.toolbox import Place
from dr.tools.restic_locks import holder
from dr.tools.store import ids

log = logging.getLogger("dr.heal")


def remove_stale(place: Place) -> str:
    """Remove the locks of this machine's dead processes, and say so; "" where there is none.

    Raises `DrError` when the target cannot be asked, or does not let them be removed.
    """
    dead = {name for name in locks(place) if _is_of_the_dead(place, name)}
    return _unlocked(place, dead) if dead else ""


def unlock(place: Place) -> str:
    """Remove all stale locks, those of other machines too (restic's judgement), and say so; "" where none went.

    Of a repository that is damaged nothing is said here. Raises as the target and its keys do.
    """
    try:
        return _unlocked(place, locks(place))
    except (RefusedError, TargetDownError, InterruptedRunError):
        raise
    except DrError:
        return ""


def _unlocked(place: Place, stale: set[str]) -> str:
    gone = take_away(place, stale)
    if not gone:
        return ""
    text = f"{counted(gone, 'lock')} of killed restic processes removed from {place.name}"
    log.warning("%s: %s", place.system, text)
    return text


def take_away(place: Place, stale: set[str]) -> int:
    """Let restic remove the locks that nobody holds any more; return how many of these the target lists no longer."""
    place.repository.unlock()
    return len(stale - locks(place))


def locks(place: Place) -> set[str]:
    """Return the ids of the locks that the target lists."""
    return ids(place.store, "locks/")


def _is_of_the_dead(place: Place, name: str) -> bool:
    """Whether a lock is of this machine, and its process is no more. One that went away just now is nobody's."""
    try:
        lock = holder(place.repository, name)
    except DrError:
        return False
    return lock.host == socket.gethostname() and not _alive(lock.process)


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True
