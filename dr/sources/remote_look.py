"""A look at the declared paths on another host: what is there, what is mounted, what a backup would leave out."""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING

from dr.errors import SourceError
from dr.evidence.record import Omission
from dr.plan.source_kinds import FilesSource
from dr.sources import mounts
from dr.sources.driver import shown
from dr.sources.files import cleaned, foreseen
from dr.sources.mounts import Mounted
from dr.sources.walk import Excluded
from dr.tools.sftp import Sftp, Status

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko


def foreseen_there(name: str, declared: FilesSource, host: SshHost, mounted: Mounted) -> tuple[Omission, ...]:
    """Return what a capture of another host's files would not take; see `dr.sources.files.foreseen`."""
    with host.files() as session:
        return foreseen(
            name, declared, mounted, declared.exclude,
            lstat=lambda path: _status(session, path), real=lambda path: _led_to(session, path),
        )  # fmt: skip


def mounted_there(name: str, declared: FilesSource, host: SshHost, session: Sftp) -> Mounted:
    """Return what is mounted there. Raises `SourceError` where nobody can say and the plan must know."""
    try:
        with session.open(os.fsencode(mounts.TABLE)) as opened:
            table = b"".join(opened.blocks(0))
    except OSError:
        table = b""
    if not table and declared.one_filesystem:
        raise SourceError(
            f"{host.name} does not say what is mounted there ({mounts.TABLE}), as `one_filesystem` needs",
            name,
            hint="take `one_filesystem` out of the plan, and exclude what is mounted below",
        )
    return mounts.mounted(table, map(os.fsencode, cleaned(declared.paths)))


def look_there(
    name: str, declared: FilesSource, host: SshHost, session: Sftp, excluded: Excluded
) -> tuple[list[tuple[bytes, Status]], list[str]]:
    """Split the declared paths into those to capture and those not. Raises `SourceError` where none is to be."""
    there, missing = [], []
    for path in cleaned(declared.paths):
        try:
            status = session.lstat(os.fsencode(path))
        except OSError:
            missing.append(path)
            continue
        if stat.S_ISLNK(status.mode):
            raise SourceError(
                f"{shown(path)} on {host.name} is a symbolic link, and a backup would hold the link alone",
                name,
                hint="declare the real path",
            )
        if excluded(os.fsencode(path)):
            missing.append(f"{path} (left out by an exclude)")
            continue
        there.append((os.fsencode(path), status))
    if not there:
        names = ", ".join(map(shown, missing))
        raise SourceError(f"no declared path is on {host.name}: {names}", name, hint="correct the paths or excludes")
    return there, missing


def _status(session: Sftp, path: str) -> os.stat_result:
    found = session.lstat(os.fsencode(path))
    return os.stat_result((found.mode, 0, 0, 1, found.uid, found.gid, found.size, 0, found.mtime, 0))


def _led_to(session: Sftp, path: str) -> str:
    """Return where a link leads, by its own words."""
    target = os.fsdecode(session.readlink(os.fsencode(path)))
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
