"""A repository's snapshots as directories, read-only: restic serves them by FUSE for as long as its process lives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dr.errors import DrError, MachineError
from dr.tools import command, fuse
from dr.tools.restic import Repository
from dr.tools.restic_events import Events, failure
from dr.tools.restic_tries import Tries

_LOOK_SECONDS = 0.05
#: How long restic may take to unmount before it is killed, and the mount taken away from under it.
_GRACE_SECONDS = 20.0


class Serving:
    """A restic process that serves a mount."""

    def __init__(self, running: command.Running, where: str) -> None:
        self._running, self._where = running, where

    def until_stopped(self) -> None:
        """Wait until somebody stops this program, or unmounts what is served. Raises what ailed restic, if that ended.

        A stop was passed on to restic already: it unmounts by itself.
        """
        while not self._running.ended():
            if command.wait_for_stop(_LOOK_SECONDS * 10):
                self._unmounting()
                return
        self.require_success()

    def _unmounting(self) -> None:
        until = time.monotonic() + _GRACE_SECONDS
        while not self._running.ended() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)

    def until_mounted(self, at: Path) -> None:
        """Wait until the kernel lists the mount; raises what ailed restic, if that ended before."""
        while not fuse.is_mounted(at):
            if self._running.ended():
                self.require_success()
                raise MachineError("restic ended before it had mounted anything", self._where, hint="try again")
            time.sleep(_LOOK_SECONDS)
        command.raise_if_stopping()

    def require_success(self) -> None:
        """Raise what ailed restic, which has ended."""
        done, events = self._running.finish(), Events()
        events.feed_all(done.stderr)
        if done.code == 0:
            return
        if not command.stopping() and (refusal := _refused_here(events)):
            raise refusal
        if not command.stopping() and done.code < 0:
            what = f"restic was killed (signal {-done.code}), and with it the mount ended"
            raise MachineError(what, self._where, hint="see who ended it, such as a lack of memory; then mount again")
        raise failure(done.code, events, where=self._where, doing="the mount")


@contextmanager
def mounted(repository: Repository, at: Path, *, tags: Sequence[str]) -> Iterator[Serving]:
    """Mount at an empty directory the snapshots that bear all of `tags`, each as a folder named by its whole id.

    Nothing is locked, and nothing written. In the end nothing is mounted there, however it came to that.
    """
    asked = ("mount", "--no-lock", "--path-template", "%I", "--tag", ",".join(tags), str(at))
    heed = Tries(repository.where)
    try:
        with command.Running(repository.argv(*asked), env=repository.environment(), death="INT", heed=heed) as running:
            serving = Serving(running, repository.where)
            serving.until_mounted(at)
            yield serving
    finally:
        fuse.unmount(at)


def _refused_here(events: Events) -> DrError | None:
    """Return the error for a kernel that does not let us mount, as in most containers; None for all else."""
    lines = "\n".join([events.fatal, *events.messages]).splitlines()
    said = [line[line.index(fuse.PROGRAM) :] for line in lines if fuse.PROGRAM in line]
    if not said:
        return None
    return MachineError(
        "this machine does not allow a mount by FUSE", fuse.DEVICE, said[-1][:200],
        hint="a container needs the right to mount (such as --cap-add SYS_ADMIN); without a mount, "
        "`dr recover SYSTEM --path PATH --to DIR` brings back single files",
    )  # fmt: skip
