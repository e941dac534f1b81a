"""A directory in which recovery points stand as folders: DIR/RUN_ID/SOURCE leads into a mount of the repository.

The mount shows snapshots by their ids; links give them the names that an administrator knows. It is an empty directory
before and afterwards. Who was killed leaves links, and at worst a mount that nobody serves: the next one who comes
finds by a mark and its lock that nobody lives here any more, and clears it away.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dr.errors import DrError, UsageError
from dr.evidence.point_there import PointThere
from dr.tools import fuse
from dr.tools.state_dir import hold_file

#: Where the repository itself is mounted.
REPOSITORY = ".repository"
MARK = ".dr-mount"
#: A link to the newest point that is whole and that nothing is held against.
LATEST = "latest"
_FOLDER = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}(\.[a-z]+)?")


@contextmanager
def claimed(at: Path) -> Iterator[Path]:
    """Have an empty directory, made when absent, for oneself; gives the place in it for the mount.

    Raises as `refuse_unfit`, and `LockedError` where another one is at work there. In the end it is as it was before;
    what others put there stays, and is told by a `DrError`.
    """
    refuse_unfit(at)
    made = _made(at)
    at = at.resolve()
    with hold_file(at / MARK, what=f"{at} is in use by another `dr mount`"):
        try:
            _clear(at)
            (at / REPOSITORY).mkdir(mode=0o700)
            yield at / REPOSITORY
        finally:
            _clear(at)
            (at / MARK).unlink(missing_ok=True)
            if made:
                at.rmdir()


def fill(at: Path, points: Sequence[PointThere]) -> None:
    """Make the folders of points, the newest first, and their links."""
    for each in points:
        folder = at / each.folder
        folder.mkdir(mode=0o700)
        for source, snapshot in each.snapshots.items():
            (folder / source).symlink_to(Path("..", REPOSITORY, snapshot))
        folder.chmod(0o500)
    if sound := next((each for each in points if not each.condition), None):
        (at / LATEST).symlink_to(sound.folder)


def refuse_unfit(at: Path) -> None:
    """Raise `UsageError` unless a directory is new, empty, or what a killed `dr mount` left. Nothing is touched."""
    try:
        names = os.listdir(at)
    except FileNotFoundError:
        if at.parent.is_dir():
            return
        raise UsageError("there is no such directory", str(at.parent), hint="make it first") from None
    except NotADirectoryError:
        raise UsageError("this is a file, not a directory", str(at), hint="name a new or empty directory") from None
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EIO):
            raise
        hint = f"type `{fuse.PROGRAM} -u -z {at}`, then mount again"
        raise UsageError("a mount that nobody serves any more is here", str(at), hint=hint) from error
    ours = MARK in names and all(each in (MARK, REPOSITORY, LATEST) or _FOLDER.fullmatch(each) for each in names)
    if names and not ours:
        raise UsageError("the directory is not empty", str(at), hint="name a new or empty directory")


def _made(at: Path) -> bool:
    """Make the directory; return whether it was not there."""
    try:
        at.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _clear(at: Path) -> None:
    """Take away what is ours: what is mounted, links, and folders that are empty then."""
    fuse.unmount(at / REPOSITORY)
    left = []
    for name in sorted(set(os.listdir(at)) - {MARK}):
        path = at / name
        if path.is_symlink():
            path.unlink()
        elif not (path.is_dir() and _emptied(path)):
            left.append(name)
    if left:
        raise DrError(
            f"files are here that `dr mount` did not put here, in {', '.join(left[:3])}", str(at),
            hint="move them to another place, then type the command again",
        )  # fmt: skip


def _emptied(folder: Path) -> bool:
    """Remove a folder with the links in it; return whether it is gone."""
    folder.chmod(0o700)
    for path in folder.iterdir():
        if path.is_symlink():
            path.unlink()
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
