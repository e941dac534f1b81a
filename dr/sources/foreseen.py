"""What a backup made now would leave out on another host: for `dr doctor`, by a look at the declared paths."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from dr.evidence.record import Omission
from dr.plan.source_kinds import FilesSource
from dr.sources.files import foreseen
from dr.sources.mounts import Mounted
from dr.tools.sftp import Sftp

if TYPE_CHECKING:
    from dr.tools.ssh import SshHost  # loads paramiko


def foreseen_there(name: str, declared: FilesSource, host: SshHost, mounted: Mounted) -> tuple[Omission, ...]:
    """Return what a capture of another host's files would not take; see `dr.sources.files.foreseen`."""
    with host.files() as session:
        return foreseen(
            name, declared, mounted, declared.exclude,
            lstat=lambda path: _status(session, path), real=lambda path: _led_to(session, path),
        )  # fmt: skip


def _status(session: Sftp, path: str) -> os.stat_result:
    found = session.lstat(os.fsencode(path))
    return os.stat_result((found.mode, 0, 0, 1, found.uid, found.gid, found.size, 0, found.mtime, 0))


def _led_to(session: Sftp, path: str) -> str:
    """Return where a link leads, by its own words."""
    target = os.fsdecode(session.readlink(os.fsencode(path)))
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
